#pragma once

#include <span>

#include "core/tensor.h"

namespace muonlab {

/// phi(x) = a x + b x^3 + c x^5, one step of the iteration, on singular values.
struct Quintic {
  double a, b, c;
};

/// Jordan et al. 2024. Made for a steep slope at 0 (3.4445), not for convergence: 1 is no fixed
/// point, and the iterates of any x in (0, 1.2637) end in [0.6818, 1.1344] and stay there.
inline constexpr Quintic kJordan{3.4445, -4.7750, 2.0315};

/// Replaces each matrix G = U S V^T by factor U phi_n(... phi_1(S / max(||G||_F, eps))) V^T, which
/// lies near a multiple of the closest orthogonal matrix U V^T. A zero matrix stays zero. Shapes:
/// each (rows, cols), any mixture; matrices of equal shape are iterated as one batch; one factor
/// for each. Writes: assigns. Memory: two to four times that of the largest batch. Paper: Jordan et
/// al. 2024, "Muon"; Kovarik 1970, Bjorck, Bowie 1971 (the iteration).
void newton_schulz(std::span<const Tensor> matrices, std::span<const Quintic> steps, double eps,
                   std::span<const double> factors);

}  // namespace muonlab
