#include "comm/grad_sync.hpp"

#include "comm/ddp.hpp"
#include "comm/fast_ddp.hpp"
#include "comm/zero1.hpp"
#include "comm/zero2.hpp"

namespace viaduct {

std::unique_ptr<GradSync> make_grad_sync(const GradSyncOptions& options, ParameterStore& store, Communicator& comm) {
  if (!(options.bucket_mb > 0))
    fail_config(fmt::format("parallel.bucket_mb is the size of a gradient bucket in megabytes, above 0; found {}",
                            options.bucket_mb));
  if (options.strategy == "ddp") return std::make_unique<Ddp>(store, comm, options);
  if (options.strategy == "fast_ddp") return std::make_unique<FastDdp>(store, comm, options);
  if (options.strategy == "zero1") return std::make_unique<Zero1>(store, comm, options);
  if (options.strategy == "zero2") return std::make_unique<Zero2>(store, comm, options);
  fail_config(fmt::format("parallel.strategy = {} is not known; this build has: ddp, fast_ddp, zero1, zero2",
                          options.strategy));
}

void report_all(ParameterStore& store, GradSink& sink) {
  for (auto block = store.blocks().rbegin(); block != store.blocks().rend(); ++block) sink.ready(*block);
}

}  // namespace viaduct
