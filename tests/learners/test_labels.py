import torch
from torch.testing import assert_close

from quickstudy.learners.labels import LabelEmbedding
from quickstudy.tasks import Bernoulli, Categorical, Gaussian


def test_classes_are_looked_up_and_targets_mapped() -> None:
    table = LabelEmbedding(Categorical(3), 4)
    labels = torch.tensor([[2, 0], [1, 1]])
    assert torch.equal(table(labels), table.embed.weight[labels])
    for likelihood, y in (
        (Gaussian(), torch.randn(2, 5)),
        (Gaussian(3), torch.randn(2, 5, 3)),
        (Bernoulli(), torch.ones(2, 5)),
    ):
        linear = LabelEmbedding(likelihood, 4)
        expected = y.reshape(2, 5, -1) @ linear.embed.weight.T + linear.embed.bias
        assert_close(linear(y), expected)
