#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/tensor.h"
#include "optim/steps/coefficients.h"

namespace muonlab {

/// How the singular values of a matrix X are brought to at most 1 before the first step.
enum class PreNorm : std::uint8_t {
  frobenius,  ///< X / ||X||_F
  spectral,   ///< X / sigma_max(X), by eigenvalues on the host
  schatten4,  ///< X / sqrt(||X X^T||_F): between the two, for one product more
  aol,   ///< every row (column, if X is tall) by 1 / sqrt(sum_j |X X^T|_ij); changes the limit.
         ///< Paper: Boissin et al. 2025, "Turbo-Muon"
  rows,  ///< all rows to one length, and the result to Frobenius norm sqrt(min(r, c)); changes
         ///< the limit. Paper: "MuonEq", "Muon+"
};

/// What the norm is divided by: at least eps, or eps more.
enum class EpsForm : std::uint8_t { clamp, add };

/// What replaces U S V^T by something near U V^T, and how far it goes.
struct Orthogonalization {
  std::string coefficients = "jordan";  ///< or "svd": U V^T itself, on the host
  std::int64_t steps = 0;               ///< 0: as the coefficients have it
  PreNorm norm = PreNorm::frobenius;
  double eps = 1e-7;
  EpsForm eps_form = EpsForm::clamp;
  double safety = 1;  ///< factor of the norm
  bool gram = false;  ///< iterate on the small Gram matrix where a matrix is not square
};

/// Replaces each matrix G = U S V^T by factor U phi_n(... phi_1(S / N)) V^T with N = max(safety
/// |G|, eps) or safety |G| + eps, which lies near a multiple of the closest orthogonal matrix U
/// V^T. A zero matrix stays zero. Works in the type of the matrices. Shapes: each (rows, cols), any
/// mixture; matrices of equal shape are iterated as one batch; one factor for each. Writes:
/// assigns. Memory: two to four times that of the largest batch. Paper: Jordan et al. 2024, "Muon";
/// Kovarik 1970, Bjorck, Bowie 1971 (the iteration).
void orthogonalize(std::span<const Tensor> matrices, const Orthogonalization& how,
                   std::span<const double> factors);

/// Why one of these options changes nothing beside the others: Rule::unused.
std::string unused(const Orthogonalization& how, const std::string& option);

/// "<rule>.coefficients", "<rule>.ns_steps", ... faint: whether the rule meets matrices so small
/// that eps matters.
OptionTable options(Orthogonalization& how, const std::string& rule, bool faint = true);

}  // namespace muonlab
