#include "core/ops/rows.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

// Some rows twice, some never.
Operand index(int64_t R, int64_t n) {
  return in(
      "index", {R}, [=](RandomSequence&, int64_t i) { return double((i * 5 + i / 3) % n); }, Operand::Type::i32);
}

OpCase gather(int64_t B, int64_t T, int64_t C, int64_t R) {
  return {.name = "gather_rows/" + dims({B, T, C}) + "/" + std::to_string(R),
          .operands = {in("x", {B, T, C}), index(R, B * T), out("y", {R, C})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::gather_rows(ctx, t["y"], t["x"], t["index"]); },
          .reference = reference([=](auto& v) {
            for (int64_t i = 0; i < R * C; ++i)
              v["y"][size_t(i)] = v["x"][size_t(int64_t(v["index"][size_t(i / C)]) * C + i % C)];
          }),
          .gradient = {"y",
                       {"x"},
                       [](Ctx& ctx, const Tensors& t) { ops::scatter_rows(ctx, t["dx"], t["dy"], t["index"], true); }},
          .exact = true};
}

OpCase scatter(int64_t n, int64_t C, int64_t R, bool accumulate) {
  return {
      .name = "scatter_rows/" + std::string(accumulate ? "accumulate/" : "") + dims({n, C}) + "/" + std::to_string(R),
      .operands = {in("dy", {R, C}), index(R, n), accumulate ? inout("dx", {n, C}) : out("dx", {n, C})},
      .run = [=](Ctx& ctx, const Tensors& t) { ops::scatter_rows(ctx, t["dx"], t["dy"], t["index"], accumulate); },
      .reference = reference([=](auto& v) {
        using R_ = real_of<decltype(v)>;
        if (!accumulate) std::fill(v["dx"].begin(), v["dx"].end(), R_(0));
        for (int64_t i = 0; i < R * C; ++i)
          v["dx"][size_t(int64_t(v["index"][size_t(i / C)]) * C + i % C)] += v["dy"][size_t(i)];
      })};
}

OpCase join(int64_t R, int64_t A, int64_t B) {
  return {.name = "join_columns/" + dims({R, A, B}),
          .operands = {in("a", {R, A}), in("b", {R, B}), out("y", {R, A + B})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::join_columns(ctx, t["y"], t["a"], t["b"]); },
          .reference = reference([=](auto& v) {
            for (int64_t r = 0; r < R; ++r)
              for (int64_t i = 0; i < A + B; ++i)
                v["y"][size_t(r * (A + B) + i)] = i < A ? v["a"][size_t(r * A + i)] : v["b"][size_t(r * B + i - A)];
          }),
          .gradient = {"y",
                       {"a", "b"},
                       [](Ctx& ctx, const Tensors& t) { ops::split_columns(ctx, t["da"], t["db"], t["dy"]); }},
          .exact = true};
}

OpCase split(int64_t R, int64_t A, int64_t B) {
  return {.name = "split_columns/" + dims({R, A, B}),
          .operands = {in("y", {R, A + B}), out("a", {R, A}), out("b", {R, B})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::split_columns(ctx, t["a"], t["b"], t["y"]); },
          .reference = reference([=](auto& v) {
            for (int64_t r = 0; r < R; ++r)
              for (int64_t i = 0; i < A + B; ++i)
                (i < A ? v["a"][size_t(r * A + i)] : v["b"][size_t(r * B + i - A)]) = v["y"][size_t(r * (A + B) + i)];
          }),
          .exact = true};
}

const AddCases rows{{
    gather(3, 4, 17, 9),
    gather(3, 50, 300, 70),
    gather(2, 3, 5, 0),
    scatter(12, 17, 9, false),
    scatter(12, 17, 9, true),
    scatter(150, 300, 70, false),
    scatter(6, 5, 0, false),
    join(3, 5, 8),
    split(3, 5, 8),
}};

}  // namespace
}  // namespace viaduct::test
