"""Networks that read the support set: adapting is a forward pass."""

from quickstudy.learners.black_box.attentive_latent_neural_process import AttentiveLatentNeuralProcess
from quickstudy.learners.black_box.attentive_neural_process import AttentiveNeuralProcess
from quickstudy.learners.black_box.convolutional import ConvolutionalReader
from quickstudy.learners.black_box.convolutional_neural_process import ConvolutionalNeuralProcess
from quickstudy.learners.black_box.hypernetwork import Hypernetwork
from quickstudy.learners.black_box.latent_neural_process import LatentNeuralProcess
from quickstudy.learners.black_box.memory_augmented import MemoryAugmentedNetwork
from quickstudy.learners.black_box.neural_process import ConditionalNeuralProcess
from quickstudy.learners.black_box.recurrent import RecurrentLearner
from quickstudy.learners.black_box.snail import SNAIL

__all__ = [
    "SNAIL",
    "AttentiveLatentNeuralProcess",
    "AttentiveNeuralProcess",
    "ConditionalNeuralProcess",
    "ConvolutionalNeuralProcess",
    "ConvolutionalReader",
    "Hypernetwork",
    "LatentNeuralProcess",
    "MemoryAugmentedNetwork",
    "RecurrentLearner",
]
