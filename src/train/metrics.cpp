#include "train/metrics.hpp"

#include <limits>
#include <vector>

namespace viaduct {

void Metrics::reduce(Communicator& comm, Stream& stream) {
  std::vector<double> flat;
  for (auto& [name, e] : entries_) flat.insert(flat.end(), {e.sum, e.count});
  comm.all_reduce(Tensor{flat.data(), {int64_t(flat.size())}, DType::f64, Device::cpu()}, Reduce::sum, stream);
  size_t i = 0;
  for (auto& [name, e] : entries_) e.sum = flat[i], e.count = flat[i + 1], i += 2;
}

double Metrics::mean(const std::string& name) const {
  const Entry& e = entries_.at(name);
  return e.count > 0 ? e.sum / e.count : std::numeric_limits<double>::quiet_NaN();
}

std::map<std::string, double> Metrics::means() const {
  std::map<std::string, double> means;
  for (auto& [name, e] : entries_) means[name] = mean(name);
  return means;
}

}  // namespace viaduct
