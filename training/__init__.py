"""How a network learns: images, the classifier, the run folder."""

from competition_layers.lazy import lazy_names

_HOMES = {
    "Annealing": ".schedules",
    "Augmentation": ".data_options",
    "Classifier": ".classifier",
    "Conversion": ".conversion.conversion",
    "Execution": ".options",
    "Fitting": ".decision.fitting",
    "ImageData": ".data",
    "KLToUniform": ".kl",
    "Loading": ".data_options",
    "Loss": ".options",
    "NamedDataset": ".data_options",
    "Optimizer": ".options",
    "Run": ".run",
    "Schedule": ".schedules",
    "Splits": ".data_options",
    "Start": ".options",
    "convert": ".conversion.conversion",
    "evaluate": ".run",
    "fit": ".run",
    "fit_decision": ".decision.fitting",
    "fit_decisions": ".decision.fitting",
    "reestimate_batch_norm": ".callbacks.batch_norm",
    "sweep": ".decision.sweep",
    "sweep_plot": ".decision.sweep",
    "sweep_table": ".decision.sweep",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
