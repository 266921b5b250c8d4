import pytest

from forescale.base.errors import ConfigError
from forescale.base.shape import ModelShape, ffn_width

# n_layer, d_model, then the paper's Table 3: N1, N2, M and the two ratios (vocabulary 102,400, sequences of 4,096).
# The fifth row's 6 N1 / M computes to 0.857, where the paper prints 0.85.
TABLE_3 = [
    (8, 512, 25.2e6, 77.6e6, 352e6, 0.43, 1.32),
    (12, 768, 84.9e6, 164e6, 963e6, 0.53, 1.02),
    (24, 1024, 302e6, 407e6, 3.02e9, 0.60, 0.81),
    (24, 2048, 1.21e9, 1.42e9, 9.66e9, 0.75, 0.88),
    (32, 4096, 6.44e9, 6.86e9, 45.1e9, 0.857, 0.91),
    (40, 5120, 12.6e9, 13.1e9, 85.6e9, 0.88, 0.92),
    (80, 8192, 64.4e9, 65.3e9, 419e9, 0.92, 0.94),
]


@pytest.mark.parametrize(("layers", "width", "n1", "n2", "m", "ratio1", "ratio2"), TABLE_3)
def test_counts_are_the_papers_table_3(layers, width, n1, n2, m, ratio1, ratio2):
    shape = ModelShape(layers, width, width // 128, width // 128, 8 * width / 3, 102_400, 4096)
    one_embedding = shape.params_non_embedding + shape.vocab_size * width  # the paper's N2 has one matrix of the two
    assert shape.params_non_embedding == pytest.approx(n1, rel=0.005)
    assert one_embedding == pytest.approx(n2, rel=0.005)
    assert shape.flops_per_token == pytest.approx(m, rel=0.005)
    assert 6 * shape.params_non_embedding / shape.flops_per_token == pytest.approx(ratio1, abs=0.006)
    assert 6 * one_embedding / shape.flops_per_token == pytest.approx(ratio2, abs=0.006)


def test_the_7b_and_the_67b_have_their_published_sizes():
    small = ModelShape(30, 4096, 32, 32, ffn_width(4096), 102_400, 4096)
    large = ModelShape(95, 8192, 64, 8, ffn_width(8192), 102_400, 4096)
    assert small.params == pytest.approx(6.910e9, rel=1e-3)
    assert large.params == pytest.approx(67.425e9, rel=1e-3)
    assert small.flops_per_token == pytest.approx(4.25e10, rel=1e-3)
    assert large.flops_per_token == pytest.approx(4.33e11, rel=1e-3)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="cannot be cut into 3 heads"):
        ModelShape(2, 32, 3, 3, 96, 512, 128)
    with pytest.raises(ConfigError, match="must be positive"):
        ModelShape(0, 32, 2, 2, 96, 512, 128)
