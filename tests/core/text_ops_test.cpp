// What the case table cannot say about the ops of texts: what they answer to ids and rows that are not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/range.hpp"
#include "core/ops/contrastive.hpp"
#include "core/ops/rows.hpp"
#include "core/ops/text.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;
using viaduct::Range;

template <class F>
std::string complaint(F&& f) {
  return message_of(f, Exit::crash);
}

Tensor view(std::vector<float>& v, Shape s) { return {v.data(), s, DType::f32, Device::cpu()}; }
Tensor view(std::vector<int32_t>& v, Shape s) { return {v.data(), s, DType::i32, Device::cpu()}; }

TEST(EmbedText, IdsAndPositionsBeyondTheirTablesAreRefused) {
  TestCtx ctx(DType::f32);
  std::vector<float> words(4 * 2), positions(5 * 2), types(2), y(3 * 2);
  auto embed = [&](std::vector<int32_t> ids) {
    int64_t tokens = int64_t(ids.size());
    return complaint([&] {
      ops::embed_text(ctx, view(y, {1, tokens, 2}), view(ids, {1, tokens}),
                      {view(words, {4, 2}), view(positions, {5, 2}), view(types, {1, 2})}, 1);
    });
  };
  EXPECT_EQ(embed({0, 3, 2}), "no error");  // positions 2, 3, 4
  EXPECT_THAT(embed({0, 4, 2}), HasSubstr("token 1 of text 0 should be in [0, 4), found 4"));
  EXPECT_THAT(embed({-1, 0, 2}), HasSubstr("token 0 of text 0 should be in [0, 4), found -1"));
  y.resize(4 * 2);
  EXPECT_EQ(embed({0, 1, 3, 2}), "no error");  // padding takes no position
  EXPECT_THAT(embed({0, 3, 3, 2}), HasSubstr("token 3 of text 0 stands at position 5, the table has 5 rows"));
  std::vector<int32_t> ids{0, 3, 9};
  y.resize(3 * 2);
  auto backward = [&] {
    ops::embed_text_backward(ctx, {view(words, {4, 2})}, view(y, {1, 3, 2}), view(ids, {1, 3}), 1);
  };
  EXPECT_THAT(complaint(backward), HasSubstr("found 9"));
}

TEST(Rows, AnIndexBeyondTheRowsIsRefused) {
  TestCtx ctx(DType::f32);
  std::vector<float> x(3 * 2), y(2 * 2);
  for (int32_t bad : {-1, 3}) {
    std::vector<int32_t> index{0, bad};
    auto gather = [&] { ops::gather_rows(ctx, view(y, {2, 2}), view(x, {3, 2}), view(index, {2})); };
    auto scatter = [&] { ops::scatter_rows(ctx, view(x, {3, 2}), view(y, {2, 2}), view(index, {2}), false); };
    EXPECT_THAT(complaint(gather), HasSubstr(fmt::format("index 1 of a selection should be in [0, 3), found {}", bad)));
    EXPECT_THAT(complaint(scatter), HasSubstr(fmt::format("should be in [0, 3), found {}", bad)));
  }
}

TEST(Contrastive, AQueryWithoutItsKeyIsRefused) {
  TestCtx ctx(DType::f32);
  std::vector<float> q(2 * 2), k(3 * 2), scale(1), losses(2);
  auto run = [&](int64_t first) {
    return complaint([&] {
      ops::contrastive(ctx, view(losses, {2}), {},
                       {.q = view(q, {2, 2}), .k = view(k, {3, 2}), .log_scale = view(scale, {1}), .first = first});
    });
  };
  EXPECT_EQ(run(1), "no error");
  EXPECT_THAT(run(2), HasSubstr("every query has a key of its own"));
  EXPECT_THAT(run(-1), HasSubstr("every query has a key of its own"));
}

// Two ranks with the keys of both lose and learn what one rank with all rows does.
TEST(Contrastive, RowsOfSeveralRanksAddUpToOne) {
  constexpr int64_t kRows = 6, kWidth = 4;
  TestCtx ctx(DType::f32);
  std::vector<float> q(kRows * kWidth), k(q.size()), scale{1.5f};
  for (size_t i = 0; i < q.size(); ++i) q[i] = float(i % 7) / 8 - 0.5f, k[i] = float(i % 5) / 8 - 0.25f;
  struct Result {
    std::vector<float> losses = std::vector<float>(kRows), dq = std::vector<float>(kRows * kWidth), dk = dq, dscale{0};
  };
  auto run = [&](std::vector<Range> ranks) {
    Result r;
    for (Range rank : ranks)
      ops::contrastive(
          ctx, view(r.losses, {kRows}).slice(rank.begin, rank.end),
          {view(r.dq, {kRows, kWidth}).slice(rank.begin, rank.end), view(r.dk, {kRows, kWidth}), view(r.dscale, {1})},
          {.q = view(q, {kRows, kWidth}).slice(rank.begin, rank.end),
           .k = view(k, {kRows, kWidth}),
           .log_scale = view(scale, {1}),
           .first = rank.begin});
    return r;
  };
  Result one = run({{0, kRows}}), two = run({{0, 2}, {2, 2}, {2, kRows}});
  for (auto part : {&Result::losses, &Result::dq, &Result::dk, &Result::dscale})
    for (size_t i = 0; i < (one.*part).size(); ++i) EXPECT_NEAR((one.*part)[i], (two.*part)[i], 1e-6);
}

}  // namespace
}  // namespace viaduct::test
