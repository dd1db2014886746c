#include "core/ops/patch.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

// ImageNet's mean and deviation: not representable, so that the order and the precision of every step show.
const ops::Normalization kImageNet{1.0 / 255, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};

OpCase patchify(int64_t B, int64_t H, int64_t W, int64_t P) {
  int64_t down = H / P, across = W / P;
  return {.name = "patchify/" + dims({B, H, W}) + "/" + std::to_string(P),
          .operands = {in("pixels", {B, H, W, 3}, below(256), Operand::Type::u8),
                       out("patches", {B, down * across, 3 * P * P})},
          .run = [=](Ctx& ctx, const Tensors& t) { ops::patchify(ctx, t["patches"], t["pixels"], P, kImageNet); },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            auto& to = v["patches"];
            auto from = v["pixels"];
            size_t i = 0;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t g = 0; g < down * across; ++g)
                for (int64_t c = 0; c < 3; ++c)
                  for (int64_t y = g / across * P; y < (g / across + 1) * P; ++y)
                    for (int64_t x = g % across * P; x < (g % across + 1) * P; ++x) {
                      // fp32 in every mode, as HF's processor stores it.
                      float pixel = float(double(from[size_t(((b * H + y) * W + x) * 3 + c)]) * kImageNet.rescale);
                      to[i++] = R((pixel - kImageNet.mean[size_t(c)]) / kImageNet.std[size_t(c)]);
                    }
          }),
          .exact = true};
}

OpCase assemble_tokens(int64_t B, int64_t G, int64_t C, int64_t K = 1) {
  return {
      .name = "assemble_tokens/" + (K > 1 ? fmt::format("after{}/", K) : "") + dims({B, G, C}),
      .operands = {in("patches", {B, G, C}), in("cls", {1, K, C}), in("positions", {1, K + G, C}),
                   out("tokens", {B, K + G, C})},
      .run = [](Ctx& ctx,
                const Tensors& t) { ops::assemble_tokens(ctx, t["tokens"], t["patches"], t["cls"], t["positions"]); },
      .reference = reference([=](auto& v) {
        for (int64_t b = 0; b < B; ++b)
          for (int64_t t = 0; t < K + G; ++t)
            for (int64_t c = 0; c < C; ++c)
              v["tokens"][size_t((b * (K + G) + t) * C + c)] =
                  (t < K ? v["cls"][size_t(t * C + c)] : v["patches"][size_t((b * G + t - K) * C + c)]) +
                  v["positions"][size_t(t * C + c)];
      }),
      .gradient = {"tokens",
                   {"patches", "cls", "positions"},
                   [](Ctx& ctx, const Tensors& t) {
                     ops::assemble_tokens_backward(ctx, t["dpatches"], t["dcls"], t["dpositions"], t["dtokens"]);
                   }},
      .exact = true};
}

OpCase assemble_tokens_backward(int64_t B, int64_t G, int64_t C, const std::string& only = "", int64_t K = 1) {
  auto wanted = [=](const char* name) { return only.empty() || only == name; };
  std::vector<Operand> operands{in("dtokens", {B, K + G, C})};
  if (wanted("dpatches")) operands.push_back(out("dpatches", {B, G, C}));
  if (wanted("dcls")) operands.push_back(inout("dcls", {K, C}, Operand::Type::stat));
  if (wanted("dpositions")) operands.push_back(inout("dpositions", {K + G, C}, Operand::Type::stat));
  return {.name = "assemble_tokens_backward/" + only + (K > 1 ? fmt::format("after{}/", K) : "") + dims({B, G, C}),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                auto or_absent = [&](const char* name) { return wanted(name) ? t[name] : Tensor{}; };
                ops::assemble_tokens_backward(ctx, or_absent("dpatches"), or_absent("dcls"), or_absent("dpositions"),
                                              t["dtokens"]);
              },
          .reference = reference([=](auto& v) {
            for (int64_t b = 0; b < B; ++b)
              for (int64_t t = 0; t < K + G; ++t)
                for (int64_t c = 0; c < C; ++c) {
                  auto d = v["dtokens"][size_t((b * (K + G) + t) * C + c)];
                  if (wanted("dpositions")) v["dpositions"][size_t(t * C + c)] += d;
                  if (t >= K && wanted("dpatches")) v["dpatches"][size_t((b * G + t - K) * C + c)] = d;
                  if (t < K && wanted("dcls")) v["dcls"][size_t(t * C + c)] += d;
                }
          })};
}

OpCase select_token(int64_t B, int64_t T, int64_t C, int64_t index) {
  return {.name = "select_token/" + dims({B, T, C}) + "/" + std::to_string(index),
          .operands = {in("x", {B, T, C}), out("y", {B, C})},
          .run = [=](Ctx& ctx, const Tensors& t) { ops::select_token(ctx, t["y"], t["x"], index); },
          .reference = reference([=](auto& v) {
            for (int64_t i = 0; i < B * C; ++i) v["y"][size_t(i)] = v["x"][size_t((i / C * T + index) * C + i % C)];
          }),
          .gradient = {"y",
                       {"x"},
                       [=](Ctx& ctx, const Tensors& t) { ops::select_token_backward(ctx, t["dx"], t["dy"], index); }},
          .exact = true};
}

OpCase select_token_backward(int64_t B, int64_t T, int64_t C, int64_t index) {
  return {.name = "select_token_backward/" + dims({B, T, C}),
          .operands = {in("dy", {B, C}), inout("dx", {B, T, C})},
          .run = [=](Ctx& ctx, const Tensors& t) { ops::select_token_backward(ctx, t["dx"], t["dy"], index); },
          .reference = reference([=](auto& v) {
            for (int64_t i = 0; i < B * C; ++i) v["dx"][size_t((i / C * T + index) * C + i % C)] += v["dy"][size_t(i)];
          }),
          .exact = true};
}

const AddCases rows{{
    patchify(2, 16, 24, 8),
    patchify(1, 21, 35, 7),
    patchify(2, 17, 19, 4),  // rests that do not fill a patch
    assemble_tokens(3, 6, 20),
    assemble_tokens(3, 6, 20, 2),
    assemble_tokens(2, 5, 64, 2),
    assemble_tokens_backward(3, 6, 20),
    assemble_tokens_backward(5, 50, 64),
    assemble_tokens_backward(3, 6, 20, "", 2),
    assemble_tokens_backward(3, 6, 20, "dcls", 2),
    assemble_tokens_backward(3, 6, 20, "dpatches", 2),
    assemble_tokens_backward(3, 6, 20, "dpatches"),
    assemble_tokens_backward(3, 6, 20, "dcls"),
    assemble_tokens_backward(3, 6, 20, "dpositions"),
    select_token(3, 5, 17, 0),
    select_token(3, 5, 17, 4),
    select_token_backward(3, 5, 17, 2),
    measured(patchify(16, 224, 224, 16)),
    measured(assemble_tokens(16, 196, 768)),
    measured(assemble_tokens_backward(16, 196, 768)),
}};

}  // namespace
}  // namespace viaduct::test
