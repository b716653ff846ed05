"""Losses against closed forms worked out in NumPy, and against what they must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.losses import (
    LOSSES,
    deck,
    gradient,
    laplace,
    least_squares,
    median_and_spread,
    nmg,
    ordinal,
    relative,
    ssimae,
    ssimse,
    ssitrim,
    unit_spread,
    zero,
)

AFFINE = ("ssimse", "ssimae", "ssitrim", "gradient", "edges", "nmg", "relative")


def maps(seed: int = 0, size: tuple[int, int] = (24, 40)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, *size, generator=generator) + 0.1
    prediction = 0.5 * target + 0.3 * torch.rand(2, *size, generator=generator)
    return prediction, target, torch.rand(2, *size, generator=generator) < 0.7


@pytest.mark.parametrize("name", AFFINE)
def test_scale_and_shift_of_the_prediction_do_not_matter(name: str):
    prediction, target, mask = maps()
    expected = LOSSES[name].function(prediction, target, mask)
    torch.testing.assert_close(LOSSES[name].function(7 * prediction - 3, target, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ssimae", "ssitrim", "gradient", "nmg"])
def test_scale_and_shift_of_the_target_do_not_matter(name: str):
    prediction, target, mask = maps()
    expected = LOSSES[name].function(prediction, target, mask)
    torch.testing.assert_close(LOSSES[name].function(prediction, 5 * target + 2, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*AFFINE, "deck"])
def test_zero_for_the_truth_itself_and_positive_otherwise(name: str):
    prediction, target, mask = maps()
    torch.testing.assert_close(LOSSES[name].function(target, target, mask), torch.zeros(2), atol=1e-5, rtol=0)
    assert (LOSSES[name].function(prediction, target, mask) > 1e-3).all()


@pytest.mark.parametrize("name", AFFINE)
def test_invalid_pixels_are_never_read(name: str):
    prediction, target, mask = maps()
    expected = LOSSES[name].function(prediction, target, mask)
    prediction, target = prediction.masked_fill(~mask, -1e4), target.masked_fill(~mask, 1e4)
    torch.testing.assert_close(LOSSES[name].function(prediction, target, mask), expected)


@pytest.mark.parametrize("name", [*AFFINE, "ordinal"])
def test_an_image_without_valid_pixels_counts_nothing_and_harms_nothing(name: str):
    prediction, target, mask = maps()
    mask[1] = False
    prediction.requires_grad_(True)
    values = LOSSES[name].function(prediction, target - 0.6 if name == "ordinal" else target, mask)
    values.sum().backward()
    assert values[1] == 0
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad[1] == 0).all()


def test_median_and_spread_run_over_valid_pixels_only():
    values = torch.tensor([[[1.0, 2.0, 3.0, 100.0]]]).repeat(1, 64, 1)
    mask = torch.tensor([[[True, True, True, False]]]).repeat(1, 64, 1)
    shift, scale = median_and_spread(values, mask)
    assert shift.item() == 2.0
    assert scale.item() == pytest.approx(2 / 3)


def test_least_squares_equals_numpy():
    prediction, target, mask = maps(3)
    scale, shift = least_squares(prediction, target, mask)
    for index in range(2):
        p, t = prediction[index][mask[index]].numpy(), target[index][mask[index]].numpy()
        expected = np.polyfit(p.astype(float), t.astype(float), 1)
        assert (scale[index].item(), shift[index].item()) == pytest.approx(tuple(expected), rel=1e-4)
        error = 0.5 * np.mean((np.polyval(expected, p) - t) ** 2)
        assert ssimse(prediction, target, mask)[index].item() == pytest.approx(error, rel=1e-4)


def test_ssimae_and_ssitrim_equal_numpy():
    prediction, target, mask = maps(4)
    for index in range(2):
        p, t = prediction[index][mask[index]].numpy(), target[index][mask[index]].numpy()

        def robust(x: np.ndarray) -> np.ndarray:
            centred = x - np.sort(x)[(len(x) - 1) // 2]  # torch's median is the lower of the middle two
            return centred / np.abs(centred).mean()

        residual = np.sort(np.abs(robust(p) - robust(t)))
        kept = residual[: int(0.8 * len(residual))]
        assert ssimae(prediction, target, mask)[index].item() == pytest.approx(residual.mean() / 2, rel=1e-4)
        assert ssitrim(prediction, target, mask)[index].item() == pytest.approx(
            kept.sum() / len(residual) / 2, rel=1e-4
        )


def test_trimming_is_per_image():
    prediction, target, mask = maps(5)
    alone = ssitrim(prediction[:1], target[:1], mask[:1])
    prediction[1] = torch.rand_like(prediction[1]) * 50  # another image's outliers take no share of this one's
    torch.testing.assert_close(ssitrim(prediction, target, mask)[:1], alone)


def test_gradient_of_a_ramp_by_hand():
    # Both normalised maps are ramps over 64 columns; a residual ramp of slope s gives s at every scale's own step.
    ramp = torch.arange(64.0).repeat(64, 1)[None]
    mask = torch.ones_like(ramp, dtype=torch.bool)
    bent = ramp.clone()
    bent[:, :, 32:] += 10.0
    residual = (bent - bent.median()) / (bent - bent.median()).abs().mean()
    residual = residual - (ramp - ramp.median()) / (ramp - ramp.median()).abs().mean()
    expected = 0.0
    for step in (1, 2, 4, 8):
        r = residual[0, ::step, ::step]
        expected += ((r[:, 1:] - r[:, :-1]).abs().sum() + (r[1:] - r[:-1]).abs().sum()).item() / r.numel()
    assert gradient(bent, ramp, mask).item() == pytest.approx(expected, rel=1e-5)


def test_nmg_sees_edges_and_no_offset():
    target = torch.zeros(1, 32, 32)
    target[:, :, 16:] = 1.0
    mask = torch.ones_like(target, dtype=torch.bool)
    blurred = torch.nn.functional.avg_pool2d(target[None], 7, 1, 3, count_include_pad=False)[0]
    assert nmg(target + 5, target, mask).item() == pytest.approx(0.0, abs=1e-4)
    assert nmg(blurred, target, mask).item() > 0.05


def test_nmg_compares_over_its_spacings():
    """Of a residual that is a ramp of slope a, each spacing k has a k, less what the border takes."""
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(1, 40, 100, generator=rng)
    mask = torch.ones_like(target, dtype=torch.bool)
    prediction = target + 0.3 * torch.linspace(0, 1, 100)
    scale, _ = least_squares(prediction, target, mask)
    _, spread = median_and_spread(target, mask)
    residual = ((scale * prediction - target) / spread)[0]
    wanted = 0.0
    for k in (2, 8, 32, 64):  # 64 is more than the rows
        wanted += (residual[:, k:] - residual[:, :-k]).abs().sum().item() / residual.numel()
        if k < 40:
            wanted += (residual[k:] - residual[:-k]).abs().sum().item() / residual.numel()
    assert nmg(prediction, target, mask).item() == pytest.approx(wanted, rel=1e-5)


def test_nmg_turns_round_what_is_the_wrong_way_round():
    target = torch.linspace(0, 1, 32).expand(1, 32, 32)
    prediction = (-target).clone().requires_grad_()
    mask = torch.ones_like(target, dtype=torch.bool)
    optimizer = torch.optim.Adam([prediction], lr=0.04)
    for _ in range(200):
        optimizer.zero_grad()
        nmg(prediction, target, mask).sum().backward()
        assert prediction.grad is not None and prediction.grad.abs().max() > 0
        optimizer.step()
    assert torch.corrcoef(torch.stack([prediction.detach().flatten(), target.flatten()]))[0, 1] > 0


def test_zero_knows_scale_and_not_shift():
    _, target, mask = maps()
    torch.testing.assert_close(zero(3.0 * target, target, mask), torch.zeros(2), atol=1e-6, rtol=0)
    assert (zero(3.0 * target + 1.0, target, mask) > 0.05).all()


def test_zero_as_numpy_has_it():
    prediction, target, mask = maps(3)
    for index in range(2):
        valid = mask[index].numpy()
        p, t = prediction[index].numpy()[valid], target[index].numpy()[valid]
        middle_p, middle_t = np.sort(p)[(len(p) - 1) // 2], np.sort(t)[(len(t) - 1) // 2]  # torch's lower median
        error = np.sort(np.abs(middle_t / middle_p * p - t) / np.maximum(t, 0.1 * middle_t))
        kept = error[: len(error) - int(0.2 * len(error))]
        assert float(zero(prediction, target, mask)[index]) == pytest.approx(kept.mean(), rel=0.01)


def test_zero_of_a_flat_prediction_is_bounded():
    _, target, mask = maps()
    flat = torch.full_like(target, -1.0, requires_grad=True)
    loss = zero(flat, target, mask)
    loss.sum().backward()
    assert flat.grad is not None and loss.max() < 20 and flat.grad.abs().max() < 1


def test_zero_leads_a_shifted_prediction_back():
    _, target, mask = maps()
    shift = torch.full((2, 1, 1), -2.0, requires_grad=True)  # most of the picture beyond infinity
    optimiser = torch.optim.Adam([shift], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        zero(target + shift, target, mask).sum().backward()
        optimiser.step()
    assert shift.detach().abs().max() < 0.05


def test_relative_weighs_far_pixels_more():
    target = torch.full((1, 20, 20), 1.0)
    target[:, :10] = 0.1
    target += torch.linspace(0, 0.01, 20)
    mask = torch.ones_like(target, dtype=torch.bool)
    noise = 0.02 * torch.randn(10, 20, generator=torch.Generator().manual_seed(0))
    far, near = target.clone(), target.clone()
    far[:, :10] += noise
    near[:, 10:] += noise
    assert relative(far, target, mask) > 4 * relative(near, target, mask)


def test_deck_as_written_uses_every_pixel_and_the_mean_colour():
    prediction, target, mask = maps(6)
    expected = torch.nn.functional.l1_loss(prediction, target) / (2 * 0.25)
    torch.testing.assert_close(deck(prediction, target, mask, torch.tensor(0.25)).mean(), expected)
    torch.testing.assert_close(deck(prediction, target, ~mask), deck(prediction, target, mask))


def test_ordinal_is_low_for_the_right_order_and_continuous_at_tau():
    target = torch.zeros(1, 40, 40)
    target[:, :20], target[:, 20:] = -1, 1
    mask = torch.ones_like(target, dtype=torch.bool)
    right, flat, wrong = (ordinal(values, target, mask).item() for values in (target, 0 * target + 1e-9, -target))
    assert right < flat < wrong
    assert right == pytest.approx(math.log1p(math.exp(-2.0)), rel=1e-4)  # the two regions lie two spreads apart


def test_ordinal_forgives_clear_errors_and_is_continuous_at_tau():
    target = torch.zeros(1, 40, 40)
    target[:, :5], target[:, 5:10] = 1, -1
    mask = torch.ones_like(target, dtype=torch.bool)

    def at(p: float) -> float:
        """The loss where every pair is wrong by ``p`` spreads of the prediction."""
        values = torch.ones(1, 40, 40)
        values[:, :, ::2] = -1
        for _ in range(5):  # the spread depends a little on the regions themselves
            spread = median_and_spread(values, mask)[1].item()
            values[:, :5], values[:, 5:10] = -p * spread / 2, p * spread / 2
        return ordinal(values, target, mask).item()

    assert at(0.2) == pytest.approx(math.log1p(math.exp(0.2)), rel=1e-3)
    assert at(0.251) == pytest.approx(at(0.249), rel=5e-3)
    step = math.log1p(math.exp(0.25)) - math.log1p(math.exp(0.5))
    assert at(2.0) == pytest.approx(math.log1p(math.exp(math.sqrt(2.0))) + step, rel=1e-2)


def test_laplace_is_least_where_sigma_is_the_errors_own():
    """For errors of mean absolute size m the likelihood is greatest at b = m: sigma = sqrt(2) m, and then 1 + log m."""
    prediction, target, mask = maps()
    _, spread = median_and_spread(prediction, mask)
    mean_error = 2 * ssimae(prediction, target, mask)[:, None, None]  # of the maps made alike; ssimae halves it
    best = (math.sqrt(2.0) * mean_error * spread).log().expand_as(prediction)
    values = [laplace(prediction, target, mask, best + change) for change in (-0.2, 0.0, 0.2)]
    torch.testing.assert_close(values[1], 1.0 + mean_error.flatten().log())
    assert (values[1] < values[0]).all() and (values[1] < values[2]).all()


def test_laplace_leaves_depth_alone():
    prediction, target, mask = maps()
    prediction.requires_grad_(True)
    log_sigma = torch.zeros_like(prediction, requires_grad=True)
    laplace(prediction, target, mask, log_sigma).sum().backward()
    assert prediction.grad is None and log_sigma.grad is not None
    assert (log_sigma.grad[mask] != 0).all() and (log_sigma.grad[~mask] == 0).all()


def test_unit_spread_is_least_at_one_and_symmetric_in_the_logarithm():
    prediction, target, mask = maps()
    _, spread = median_and_spread(prediction, mask)
    one = prediction / spread
    torch.testing.assert_close(unit_spread(one, target, mask), torch.zeros(2), atol=1e-6, rtol=0)
    expected = torch.full((2,), math.log(5.0) ** 2)
    torch.testing.assert_close(unit_spread(5 * one + 3, target, mask), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(unit_spread(one / 5, target, mask), expected, rtol=1e-4, atol=1e-4)


def test_relative_leaves_the_largest_fifth_out():
    prediction, target, mask = maps()
    scale, shift = least_squares(prediction, target, mask)
    errors = ((scale * prediction + shift - target) / target).abs()
    for index, value in enumerate(relative(prediction, target, mask)):
        ordered = errors[index][mask[index]].sort().values
        assert float(value) == pytest.approx(float(ordered[: int(0.8 * len(ordered))].mean()), rel=1e-4)


@pytest.mark.parametrize("name", [*AFFINE, "zero"])
def test_an_image_counts_from_64_valid_pixels_on(name: str):
    prediction, target, _ = maps()
    mask = torch.zeros(2, 24 * 40) > 0
    mask[0, :63], mask[1, :64] = True, True
    few, enough = LOSSES[name].function(prediction, target, mask.view(2, 24, 40))
    assert float(few) == 0.0
    assert float(enough) > 0.0


@pytest.mark.parametrize("loss", [relative, zero])
def test_relative_errors_are_those_of_what_is_finitely_far(loss):
    """Sky is infinitely far, an inverse depth of zero: no error is a share of that."""
    prediction, target, mask = maps()
    target[:, :6] = 0.0
    target[:, 6] = -0.1
    finite = mask.clone()
    finite[:, :7] = False
    torch.testing.assert_close(loss(prediction, target, mask), loss(prediction, target, finite))


def test_far_beyond_the_median_an_error_is_no_share_of_next_to_nothing():
    """Else a street is all horizon."""
    _, target, mask = maps()
    target[:, :10] = 1e-4  # more of it than is trimmed away
    prediction = target.clone()
    prediction[:, :10] = 0.02
    values = zero(prediction, target, torch.ones_like(mask))
    for value, near in zip(values, target.numpy(), strict=True):  # the medians, which are of what is right, are one
        floor = 0.1 * np.sort(near, axis=None)[(near.size - 1) // 2]
        residuals = np.where(near == near[0, 0], (0.02 - 1e-4) / floor, 0.0)
        kept = residuals <= np.sort(residuals, axis=None)[int(0.8 * near.size) - 1]
        assert float(value) == pytest.approx(residuals[kept].mean(), rel=1e-4)
