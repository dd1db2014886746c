#include "train/teacher.hpp"

#include <algorithm>

#include "core/base/hash.hpp"
#include "core/base/log.hpp"
#include "core/device/host_copy.hpp"
#include "core/ops/host_values.hpp"
#include "models/hf_config.hpp"
#include "models/hf_weights.hpp"
#include "train/image_processor.hpp"

namespace viaduct {

Teacher::Teacher(const ModelSource& source, TeacherOptions options)
    : source_(source),
      options_(options),
      task_(vit(source.config), source.normalization(), {.whole_last = options.whole_last}) {}

void Teacher::materialize(Device device, DType dtype) {
  task_.parameters().materialize(device, dtype, false);
  packed_.emplace(device);
}

int64_t Teacher::bytes() { return task_.parameters().values().bytes() + packed_->bytes(); }

void Teacher::load(Communicator& comm, Stream& stream) {
  ParameterStore& store = task_.parameters();
  if (comm.rank() == 0) {
    auto loaded = load_weights(source_.folder, source_.config, store, 0);
    if (!loaded.new_heads.empty())
      fail_input(fmt::format("task.teacher: {}: expected the weights of a trained {}, found none that fit",
                             source_.folder, fmt::join(loaded.new_heads, ", ")));
  }
  comm.broadcast(store.values(), 0, stream);
  HostCopy values(store.values(), stream, HostCopy::Fetch::yes);
  Hasher hasher;
  hasher.add(values.tensor().data, values.tensor().bytes());
  hash_ = hasher.hex();
  log::info("teacher: {}, {:.1f} M parameters, from {}", describe(source_.config), double(store.count()) / 1e6,
            source_.folder);
}

void Teacher::open_cache(const Config& config, const std::string& data) {
  if (!options_.cached) return;
  const ParameterStore& store = task_.parameters();
  std::string processor = image_processor_json(source_.processor);
  std::erase_if(processor, [](char c) { return c == '\n' || c == ' '; });
  const std::string about = fmt::format(
      "teacher: {}, weights xxh3 {}\ncomputed in: {} on {}\ndata: {}\nimages: {}, {}, augment {}, erasing {}\n",
      describe(source_.config), hash_, name_of(store.dtype()), store.values().device.is_cuda() ? "cuda" : "cpu", data,
      processor, config.data.image_pipeline, config.data.augment == "auto" ? "default" : config.data.augment,
      config.augment.random_erasing);
  const bool halves = store.dtype() == DType::bf16 || config.task.cache_precision == "bf16";
  cache_ = std::make_unique<TeacherCache>(
      config.task.cache, about, vit(source_.config).classes(),
      StoredAnswer{.dtype = halves ? DType::bf16 : DType::f32, .top_k = config.task.cache_top_k},
      config.data.augment != "none" || config.augment.random_erasing > 0);
}

Ctx Teacher::own(Ctx& ctx) { return {ctx.stream, ctx.arena, *packed_, ctx.dtype}; }

Tensor Teacher::answers(Ctx& ctx, const Batch& batch, const Vit::Look& look) {
  const bool planned = ctx.device().is_meta() && options_.cached;
  if (cache_ || planned) return looked_up(ctx, batch);
  Ctx mine = own(ctx);
  return look ? task_.model().forward(mine, nullptr, batch.pixels, nullptr, look).label
              : task_.model().forward(mine, batch.pixels);
}

Tensor Teacher::looked_up(Ctx& ctx, const Batch& batch) {
  const int64_t B = batch.size(), C = vit(source_.config).classes();
  Tensor found = ctx.arena.temp({B, C}, ctx.dtype);
  auto scope = ctx.arena.scope("teacher");
  const bool planned = ctx.device().is_meta();
  std::vector<float> values(planned ? 0 : size_t(B * C));
  const Tensor rows{values.data(), {B, C}, DType::f32, Device::cpu()};
  if (planned || !cache_->find(batch.on_host(), rows)) {
    const std::vector<float> computed = ops::host_values(ctx, predict(ctx, batch));
    if (planned) return found;
    std::copy(computed.begin(), computed.end(), values.begin());
    cache_->add(batch.on_host(), rows);
  }
  HostCopy there(found, ctx.stream, HostCopy::Fetch::no);
  dispatch(found.dtype, [&]<class T>() { std::copy(values.begin(), values.end(), data<T>(there.tensor())); });
  there.store();
  return found;
}

void Teacher::evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) {
  Ctx mine = own(ctx);
  task_.evaluate(mine, batch, metrics);
}

Tensor Teacher::predict(Ctx& ctx, const Batch& batch) {
  Ctx mine = own(ctx);
  return task_.predict(mine, batch);
}

}  // namespace viaduct
