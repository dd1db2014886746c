#include "train/nonfinite_search.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/device/host_copy.hpp"

namespace viaduct {
namespace {

bool finite(const Tensor& t, Stream& stream) {
  HostCopy copy(t.reshape({t.numel()}), stream, HostCopy::Fetch::yes);
  bool all = true;
  dispatch(t.dtype, [&]<class T>() {
    const T* x = data<T>(copy.tensor());
    for (int64_t i = 0; i < t.numel(); ++i) all &= std::isfinite(compute_t<T>(x[i]));
  });
  return all;
}

// In the order of the forward pass; null: none.
const Parameter* bad_parameter(Engine& engine) {
  for (const Parameter& p : engine.task().parameters().parameters())
    if (!finite(p.value, engine.work().stream)) return &p;
  return nullptr;
}

// In the order of the backward pass, among the gradients that this rank's optimizer has.
const Parameter* bad_gradient(Engine& engine) {
  ParameterStore& store = engine.task().parameters();
  const Range owned = engine.optimizer().owned();
  const auto& all = store.parameters();
  for (auto p = all.rbegin(); p != all.rend(); ++p) {
    const Range mine{std::max(p->range.begin, owned.begin), std::min(p->range.end, owned.end)};
    if (!p->frozen() && !mine.empty() && !finite(store.grads(mine), engine.work().stream)) return &*p;
  }
  return nullptr;
}

Batch one_of(const Batch& batch, int64_t b) {
  Batch one = batch;
  for (Tensor* t : tensors_of(one))
    if (*t) *t = t->slice(b, b + 1);
  one.samples = {batch.samples[size_t(b)]};
  if (!batch.images.empty()) one.images = {batch.images[size_t(b)]};
  if (batch.host) one.host = std::make_shared<const Batch>(one_of(*batch.host, b));
  return one;
}

// By the measure of the step tail.
bool has_sound_loss(Engine& engine, const Batch& one) {
  Ctx& ctx = engine.work().ctx;
  ctx.training = false, ctx.sample_keys = one.keys;
  ctx.enter(Phase::eval);  // the others, who wait, see that it goes on
  Metrics metrics;
  engine.task().evaluate(ctx, one, metrics);
  for (const auto& [name, mean] : metrics.means())
    if (name.ends_with("loss") && !(std::abs(mean) < 0x1p50)) return false;
  return true;
}

std::vector<std::string> samples_of(Engine& engine, const DatasetPtr& data, LoaderOptions options, int64_t step,
                                    bool evaluated) {
  std::vector<std::string> all, bad;
  options.workers = 0;
  Loader loader(data, options, step);
  for (int64_t pass = 0; pass < options.accumulate; ++pass) {
    const Batch batch = engine.upload()(loader.next(), engine.work().stream);
    for (int64_t b = 0; b < batch.size(); ++b) {
      all.push_back(data->id(batch.samples[size_t(b)]));
      if (evaluated && !has_sound_loss(engine, one_of(batch, b))) bad.push_back(all.back());
    }
  }
  return bad.empty() ? all : bad;
}

}  // namespace

Nonfinite find_nonfinite(Engine& engine, DatasetPtr data, LoaderOptions loader, int64_t step,
                         const std::vector<int>& ranks, Communicator& comm) {
  auto is_bad = [&](int rank) { return std::find(ranks.begin(), ranks.end(), rank) != ranks.end(); };
  nlohmann::json mine;
  if (const Parameter* p = bad_parameter(engine)) mine["parameter"] = p->name;
  if (const Parameter* p = bad_gradient(engine)) mine["gradient"] = p->name, mine["at"] = p->range.begin;
  if (ranks.empty() || is_bad(comm.rank()))
    mine["samples"] = samples_of(engine, data, loader, step, !ranks.empty() && engine.task().samples_stand_alone());

  Nonfinite found;
  std::string parameter, gradient;
  int64_t at = -1;
  const auto all = comm.all_gather_text(mine.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  for (int rank = 0; rank < comm.size(); ++rank) {
    const auto theirs = nlohmann::json::parse(all[size_t(rank)]);
    if (theirs.contains("parameter") && (parameter.empty() || (ranks.size() == 1 && is_bad(rank))))
      parameter = fmt::format("parameter {}{}", theirs["parameter"].get<std::string>(),
                              comm.size() > 1 ? fmt::format(" of rank {}", rank) : "");
    if (theirs.contains("gradient") && theirs["at"] > at) at = theirs["at"], gradient = theirs["gradient"];
    if (theirs.contains("samples"))
      for (const auto& id : theirs["samples"]) found.samples.push_back(id);
  }
  found.lasting = !parameter.empty();
  found.tensor = found.lasting ? parameter : !ranks.empty() ? "the loss" : "the gradient of " + gradient;
  return found;
}

}  // namespace viaduct
