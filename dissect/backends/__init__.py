"""Models that describers ask: captions, language, pictures of phrases. A protocol each, several implementations."""
