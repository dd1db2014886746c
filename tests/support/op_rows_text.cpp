#include "core/ops/text.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

constexpr int32_t kPad = 1;
constexpr auto kStat = Operand::Type::stat;

struct Case {
  int64_t B, T, C, words = 11;
  bool padded = true;
  int64_t positions() const { return T + kPad + 1; }
  std::string name() const { return (padded ? "" : "no_padding/") + dims({B, T, C}); }
  // Padding at the end of some texts, and one in the middle.
  Operand ids() const {
    return in(
        "ids", {B, T},
        [c = *this](RandomSequence& random, int64_t i) {
          int64_t b = i / c.T, t = i % c.T;
          bool pad = c.padded && (t >= c.T - b || (t == 2 && b == 1));
          double other = double(random.below(uint64_t(c.words - 1)));
          return pad ? kPad : other < kPad ? other : other + 1;
        },
        Operand::Type::i32);
  }
};

// f(row of the tokens, id, position)
template <class R, class F>
void for_tokens(const std::vector<R>& ids, const Case& c, F f) {
  for (int64_t b = 0; b < c.B; ++b) {
    int64_t seen = 0;
    for (int64_t row = b * c.T; row < (b + 1) * c.T; ++row) {
      bool pad = ids[size_t(row)] == kPad;
      seen += !pad;
      f(row, int64_t(ids[size_t(row)]), kPad + (pad ? 0 : seen));
    }
  }
}

// Padding rows of the tables count in the forward pass but get no gradient, so slopes are compared without padding.
OpCase embed(Case c) {
  return {.name = "embed_text/" + c.name(),
          .operands = {c.ids(), in("words", {c.words, c.C}), in("positions", {c.positions(), c.C}),
                       in("types", {2, c.C}), out("y", {c.B, c.T, c.C})},
          .run =
              [](Ctx& ctx, const Tensors& t) {
                ops::embed_text(ctx, t["y"], t["ids"], {t["words"], t["positions"], t["types"]}, kPad);
              },
          .reference = reference([=](auto& v) {
            for_tokens(v["ids"], c, [&](int64_t row, int64_t id, int64_t position) {
              for (int64_t i = 0; i < c.C; ++i)
                v["y"][size_t(row * c.C + i)] = (v["words"][size_t(id * c.C + i)] + v["types"][size_t(i)]) +
                                                v["positions"][size_t(position * c.C + i)];
            });
          }),
          .gradient =
              {"y", c.padded ? std::vector<std::string>{} : std::vector<std::string>{"words", "positions", "types"},
               [](Ctx& ctx, const Tensors& t) {
                 ops::embed_text_backward(ctx, {t["dwords"], t["dpositions"], t["dtypes"]}, t["dy"], t["ids"], kPad);
               }},
          .exact = true};
}

OpCase backward(Case c, bool words, bool positions, bool types) {
  std::vector<Operand> operands{c.ids(), in("dy", {c.B, c.T, c.C})};
  std::string absent;
  if (words) operands.push_back(inout("dwords", {c.words, c.C}, kStat));
  if (positions) operands.push_back(inout("dpositions", {c.positions(), c.C}, kStat));
  if (types) operands.push_back(inout("dtypes", {2, c.C}, kStat));
  if (!words) absent += "no_words/";
  if (!positions) absent += "no_positions/";
  if (!types) absent += "no_types/";
  return {.name = "embed_text_backward/" + absent + c.name(),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::embed_text_backward(ctx,
                                         {words ? t["dwords"] : Tensor{}, positions ? t["dpositions"] : Tensor{},
                                          types ? t["dtypes"] : Tensor{}},
                                         t["dy"], t["ids"], kPad);
              },
          .reference = reference([=](auto& v) {
            for_tokens(v["ids"], c, [&](int64_t row, int64_t id, int64_t position) {
              for (int64_t i = 0; i < c.C; ++i) {
                auto d = v["dy"][size_t(row * c.C + i)];
                if (types) v["dtypes"][size_t(i)] += d;
                if (words && id != kPad) v["dwords"][size_t(id * c.C + i)] += d;
                if (positions && position != kPad) v["dpositions"][size_t(position * c.C + i)] += d;
              }
            });
          })};
}

const AddCases rows{{
    embed({3, 7, 20}),
    embed({2, 5, 12, 11, false}),
    backward({3, 7, 20}, true, true, true),
    backward({4, 60, 300}, true, true, true),
    backward({3, 7, 20}, false, true, true),
    backward({3, 7, 20}, true, false, false),
    measured(embed({64, 50, 1024, 50265})),
    measured(backward({64, 50, 1024, 50265}, true, true, true)),
}};

}  // namespace
}  // namespace viaduct::test
