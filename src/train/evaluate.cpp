#include "train/evaluate.hpp"

#include <chrono>

namespace viaduct {

std::map<std::string, double> evaluate(Task& task, Workspace& work, BatchUpload& upload, Loader& loader,
                                       Communicator& comm) {
  auto start = std::chrono::steady_clock::now();
  Metrics metrics, totals;
  task.evaluate(work.ctx, Batch{}, metrics);  // names every metric, also on a rank without samples
  int64_t samples = 0, quarantined = 0;
  while (!loader.done()) {
    Batch batch = loader.next();
    samples += batch.size(), quarantined += int64_t(batch.quarantined.size());
    task.evaluate(work.ctx, upload(std::move(batch), work.stream), metrics);
    work.ctx.enter(Phase::eval);  // the others, who wait, see that it goes on
  }
  totals.add("samples", double(samples), 0), totals.add("quarantined", double(quarantined), 0);
  // Not Phase::comm: a rank whose slice was quick may wait here for as long as the slowest needs.
  totals.reduce(comm, work.stream);
  metrics.reduce(comm, work.stream);
  auto means = metrics.means();
  task.conclude(means, comm);
  if (totals.sum("quarantined") > 0) means["eval_quarantined"] = totals.sum("quarantined");
  means["eval_runtime"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  means["eval_samples_per_second"] = totals.sum("samples") / means["eval_runtime"];
  return means;
}

}  // namespace viaduct
