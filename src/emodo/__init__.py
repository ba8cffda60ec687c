"""emodo: visual emotion recognition under P(Y | do(X))."""

__version__ = "0.1.0"
