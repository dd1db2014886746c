#include <cmath>

#include "core/ops/layer_norm.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

constexpr double kEps = 1e-5;
constexpr auto kStat = Operand::Type::stat;

// Calls f(row offset, mean, rstd) for every row, statistics by the two-pass formula.
template <class R, class F>
void for_rows(const std::vector<R>& x, int64_t columns, F f) {
  for (size_t at = 0; at < x.size(); at += size_t(columns)) {
    R mean = 0, square = 0;
    for (int64_t i = 0; i < columns; ++i) mean += x[at + i];
    mean /= R(columns);
    for (int64_t i = 0; i < columns; ++i) square += (x[at + i] - mean) * (x[at + i] - mean);
    f(at, mean, R(1) / std::sqrt(square / R(columns) + R(kEps)));
  }
}

OpCase forward(Shape s, bool with_stats) {
  int64_t columns = s.last(), rows = s.rows();
  std::vector<Operand> operands{in("x", s, normal(0.3, 2)), in("gamma", {columns}, normal(1, 0.2)),
                                in("beta", {columns}), out("y", s)};
  if (with_stats) operands.push_back(out("mean", {rows}, kStat)), operands.push_back(out("rstd", {rows}, kStat));
  auto stats = [=](const Tensors& t) { return with_stats ? ops::NormStats{t["mean"], t["rstd"]} : ops::NormStats{}; };
  return {
      .name = "layer_norm/" + std::string(with_stats ? "" : "no_stats/") + dims(s),
      .operands = operands,
      .run = [=](Ctx& ctx,
                 const Tensors& t) { ops::layer_norm(ctx, t["y"], stats(t), t["x"], t["gamma"], t["beta"], kEps); },
      .reference = reference([=](auto& v) {
        for_rows(v["x"], columns, [&](size_t at, auto mean, auto rstd) {
          if (with_stats) v["mean"][at / columns] = mean, v["rstd"][at / columns] = rstd;
          for (int64_t i = 0; i < columns; ++i)
            v["y"][at + i] = (v["x"][at + i] - mean) * rstd * v["gamma"][i] + v["beta"][i];
        });
      }),
      .gradient =
          {"y", with_stats ? std::vector<std::string>{"x", "gamma", "beta"} : std::vector<std::string>{},
           [=](Ctx& ctx, const Tensors& t) {
             ops::layer_norm_backward(ctx, {t["dx"], t["dgamma"], t["dbeta"]}, t["dy"], t["x"], stats(t), t["gamma"]);
           }},
      .aliases = {{"y", "x"}}};
}

OpCase backward(Shape s, bool accumulate, bool frozen = false) {
  int64_t columns = s.last(), rows = s.rows();
  auto dx = accumulate ? inout("dx", s) : out("dx", s);
  std::vector<Operand> operands{
      in("x", s, normal(0.3, 2)),
      in("gamma", {columns}, normal(1, 0.2)),
      in("dy", s),
      in("mean", {rows}, normal(0.3, 0.1), kStat),
      in(
          "rstd", {rows}, [](RandomSequence& r, int64_t) { return r.uniform(0.4, 0.6); }, kStat),
      dx};
  if (!frozen)
    operands.push_back(inout("dgamma", {columns}, kStat)), operands.push_back(inout("dbeta", {columns}, kStat));
  return {.name = "layer_norm_backward/" + std::string(accumulate ? "accumulate/" : "") + (frozen ? "frozen/" : "") +
                  dims(s),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::layer_norm_backward(
                    ctx, {t["dx"], frozen ? Tensor{} : t["dgamma"], frozen ? Tensor{} : t["dbeta"], accumulate},
                    t["dy"], t["x"], {t["mean"], t["rstd"]}, t["gamma"]);
              },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            for (int64_t r = 0; r < rows; ++r) {
              size_t at = size_t(r * columns);
              R mean = v["mean"][r], rstd = v["rstd"][r], sum = 0, product = 0;
              for (int64_t i = 0; i < columns; ++i) {
                R normalized = (v["x"][at + i] - mean) * rstd, dy = v["dy"][at + i];
                if (!frozen) v["dgamma"][i] += dy * normalized, v["dbeta"][i] += dy;
                sum += dy * v["gamma"][i], product += dy * v["gamma"][i] * normalized;
              }
              for (int64_t i = 0; i < columns; ++i) {
                R normalized = (v["x"][at + i] - mean) * rstd;
                R dx = rstd * (v["dy"][at + i] * v["gamma"][i] - sum / R(columns) - normalized * product / R(columns));
                v["dx"][at + i] = (accumulate ? v["dx"][at + i] : R(0)) + dx;
              }
            }
          }),
          .aliases = accumulate ? std::vector<std::pair<std::string, std::string>>{}
                                : std::vector<std::pair<std::string, std::string>>{{"dx", "dy"}}};
}

const AddCases rows{{
    forward({3, 5, 37}, true),
    forward({300, 64}, true),
    forward({2, 768}, false),
    forward({5, 1000}, true),
    forward({3, 1208}, true),
    backward({3, 5, 37}, false),
    backward({300, 64}, true),
    backward({3, 5, 37}, false, true),
    backward({41, 768}, true),
    backward({9, 768}, false, true),
    backward({20, 1000}, false),
    backward({9, 1208}, true),
    backward({2200, 8}, false),
    measured(forward({16, 197, 768}, true)),
    measured(backward({16, 197, 768}, true)),
}};

}  // namespace
}  // namespace viaduct::test
