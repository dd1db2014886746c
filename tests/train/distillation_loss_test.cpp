// The distillation losses and their gradients against PyTorch's (tests/golden/distillation_golden.py).
#include "train/distillation_loss.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/ops/loss.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/test_ctx.hpp"
#include "tests/train/runs.hpp"

namespace viaduct::test {
namespace {

using Doubles = std::vector<double>;

// The loss, a mean over the batch, and its gradient with respect to the student's logits, computed in T.
template <class T>
std::pair<double, Doubles> computed(const nlohmann::json& c) {
  const int64_t B = c["batch"], C = c["classes"];
  auto logits = c["student"].get<std::vector<T>>(), teacher = c["teacher"].get<std::vector<T>>();
  auto labels = c["labels"].get<std::vector<int32_t>>();
  std::vector<T> losses(size_t(B), T(1)), gradient(logits.size(), T(1));
  auto matrix = [&](std::vector<T>& v) { return Tensor{v.data(), {B, C}, dtype_of<T>, Device::cpu()}; };
  Tensor loss{losses.data(), {B}, dtype_of<T>, Device::cpu()}, label{labels.data(), {B}, DType::i32, Device::cpu()};
  const DistillationChoice choice =
      choose_distillation(config_of({{"task.losses", c["losses"]}, {"task.temperature", c["temperature"].dump()}}));
  TestCtx ctx(dtype_of<T>);
  ops::cross_entropy(ctx, loss, matrix(gradient), matrix(logits), label, choice.label);
  add_teacher_losses(ctx, choice, loss, matrix(gradient), matrix(logits), matrix(teacher));
  double sum = 0;
  for (T l : losses) sum += double(l);
  Doubles mean(gradient.begin(), gradient.end());
  for (double& g : mean) g /= double(B);
  return {sum / double(B), mean};
}

template <class T>
void expect_torchs_values(double relative) {
  std::ifstream file(source_path("tests/golden/distillation.json"));
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 14u);
  for (const auto& c : cases) {
    const auto [loss, gradient] = computed<T>(c);
    const auto wanted = c["gradient"].get<Doubles>();
    double largest = 0;
    for (double g : wanted) largest = std::max(largest, std::abs(g));
    EXPECT_NEAR(loss, double(c["loss"]), relative * double(c["loss"])) << c["losses"];
    for (size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(gradient[i], wanted[i], relative * largest) << c["losses"] << ", element " << i;
  }
}

TEST(DistillationLoss, IsTorchsInFp64) { expect_torchs_values<double>(1e-13); }
TEST(DistillationLoss, IsTorchsInFp32) { expect_torchs_values<float>(1e-6); }

}  // namespace
}  // namespace viaduct::test
