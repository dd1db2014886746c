// Sums behind averages. Only sums and counts cross ranks, so that an uneven split changes nothing.
#pragma once
#include <map>
#include <string>

#include "comm/communicator.hpp"

namespace viaduct {

class Metrics {
 public:
  void add(const std::string& name, double sum, int64_t count) {
    entries_[name].sum += sum;
    entries_[name].count += double(count);
  }
  // Every rank holds the same names; a rank that saw no sample adds them with count 0.
  void reduce(Communicator&, Stream&);
  double mean(const std::string& name) const;
  double sum(const std::string& name) const { return entries_.at(name).sum; }
  std::map<std::string, double> means() const;

 private:
  struct Entry {
    double sum = 0, count = 0;
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace viaduct
