"""The kinds of layers. Importing a file of this package enters its kinds in the registry, in the manual's order."""

# isort: off
from delc.networks.library import linear as linear
from delc.networks.library import convolution as convolution
from delc.networks.library import pooling as pooling
from delc.networks.library import activation as activation
from delc.networks.library import normalisation as normalisation
from delc.networks.library import recurrent as recurrent
from delc.networks.library import attention as attention
from delc.networks.library import reshaping as reshaping
from delc.networks.library import arithmetic as arithmetic
