#include "core/ops/bridge.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

using ops::Bridge;

std::string name_of(Bridge kind) {
  return kind == Bridge::add ? "add/" : kind == Bridge::scaled_add ? "scaled_add/" : "interpolate/";
}

std::vector<Operand> inputs(Shape s, Bridge kind) {
  std::vector<Operand> operands{in("h", s), in("c", s)};
  if (kind != Bridge::add) operands.push_back(in("s", {1}, constant(0.375)));
  return operands;
}
Tensor scalar(const Tensors& t, Bridge kind, const char* name = "s") {
  return kind == Bridge::add ? Tensor{} : t[name];
}

// What y is of h and of c.
template <class V>
auto weights(V& v, Bridge kind) {
  using R = real_of<V>;
  R s = kind == Bridge::add ? R(1) : v["s"][0];
  return kind == Bridge::interpolate ? std::pair<R, R>{R(1) - s, s} : std::pair<R, R>{s, R(1)};
}

OpCase forward(Shape s, Bridge kind) {
  std::vector<Operand> operands = inputs(s, kind);
  operands.push_back(out("y", s));
  std::vector<std::string> differentiated{"h", "c"};
  if (kind != Bridge::add) differentiated.push_back("s");
  return {.name = "bridge/" + name_of(kind) + dims(s),
          .operands = operands,
          .run = [=](Ctx& ctx, const Tensors& t) { ops::bridge(ctx, t["y"], t["h"], t["c"], scalar(t, kind), kind); },
          .reference = reference([=](auto& v) {
            auto [of_h, of_c] = weights(v, kind);
            for (size_t i = 0; i < v["y"].size(); ++i) v["y"][i] = of_h * v["h"][i] + of_c * v["c"][i];
          }),
          .gradient = {"y", differentiated,
                       [=](Ctx& ctx, const Tensors& t) {
                         ops::bridge_backward(ctx, {t["dh"], t["dc"], scalar(t, kind, "ds")}, t["dy"], t["h"], t["c"],
                                              scalar(t, kind), kind);
                       }},
          .aliases = {{"y", "h"}, {"y", "c"}}};
}

// `dh` false: the tower is frozen; `ds` false: the scalar is.
OpCase backward(Shape s, Bridge kind, bool dh = true, bool ds = true) {
  std::vector<Operand> operands = inputs(s, kind);
  operands.push_back(in("dy", s));
  operands.push_back(out("dc", s));
  if (dh) operands.push_back(out("dh", s));
  ds = ds && kind != Bridge::add;
  if (ds) operands.push_back(inout("ds", {1}, Operand::Type::stat));
  std::vector<std::pair<std::string, std::string>> aliases{{"dc", "dy"}};
  if (dh) aliases.push_back({"dh", "dy"});
  return {.name = "bridge_backward/" + name_of(kind) + (dh ? "" : "no_dh/") + (ds ? "" : "no_ds/") + dims(s),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::bridge_backward(ctx, {dh ? t["dh"] : Tensor{}, t["dc"], ds ? t["ds"] : Tensor{}}, t["dy"], t["h"],
                                     t["c"], scalar(t, kind), kind);
              },
          .reference = reference([=](auto& v) {
            auto [of_h, of_c] = weights(v, kind);
            for (size_t i = 0; i < v["dy"].size(); ++i) {
              auto d = v["dy"][i];
              v["dc"][i] = of_c * d;
              if (dh) v["dh"][i] = of_h * d;
              if (ds) v["ds"][0] += d * (kind == Bridge::interpolate ? v["c"][i] - v["h"][i] : v["h"][i]);
            }
          }),
          .aliases = aliases};
}

const AddCases rows{{
    forward({3, 5, 7}, Bridge::add),
    forward({3, 5, 7}, Bridge::scaled_add),
    forward({3, 5, 7}, Bridge::interpolate),
    backward({3, 5, 7}, Bridge::add),
    backward({50, 400}, Bridge::scaled_add),
    backward({50, 400}, Bridge::interpolate),
    backward({3, 5, 7}, Bridge::scaled_add, false, true),
    backward({3, 5, 7}, Bridge::interpolate, true, false),
}};

}  // namespace
}  // namespace viaduct::test
