#include "train/teacher.hpp"

#include "core/base/hash.hpp"
#include "core/base/log.hpp"
#include "core/device/host_copy.hpp"
#include "models/hf_weights.hpp"

namespace viaduct {

Teacher::Teacher(const ModelSource& source)
    : source_(source), model_(vit(source.config), source.normalization(), false) {}

void Teacher::materialize(Device device, DType dtype) {
  model_.parameters().materialize(device, dtype, false);
  packed_.emplace(device);
}

int64_t Teacher::bytes() { return model_.parameters().values().bytes() + packed_->bytes(); }

void Teacher::load(Communicator& comm, Stream& stream) {
  ParameterStore& store = model_.parameters();
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

Tensor Teacher::logits(Ctx& ctx, Tensor pixels) {
  Ctx own{ctx.stream, ctx.arena, *packed_, ctx.dtype};  // not in training: no dropout
  return model_.forward(own, pixels);
}

}  // namespace viaduct
