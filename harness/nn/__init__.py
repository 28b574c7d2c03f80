"""The network, in torch. Knows nothing of files, data sets or references."""
