"""The live page: the network as ONNX, and the runtime that runs it inside a browser."""
