#include "train/parity.hpp"

#include <algorithm>
#include <map>

#include "core/base/hash.hpp"
#include "train/rank_error.hpp"

namespace viaduct {
namespace {

constexpr size_t kDigits = 16;  // of a hash

std::string hash_of(const Tensor& t) {
  Hasher hasher;
  hasher.add(t.data, t.bytes());
  return hasher.hex();
}

// The hashes of all blocks, one after the other, the frozen values last.
std::string hashes(const ParameterStore& store) {
  expect(store.values().device.kind == Device::Kind::cpu, "parameters are compared in host memory");
  std::string all;
  for (Range block : store.blocks()) all += hash_of(store.values(block));
  if (store.frozen_values()) all += hash_of(store.frozen_values());
  return all;
}

}  // namespace

void check_parity(const ParameterStore& store, int64_t step, Communicator& comm) {
  if (comm.size() == 1) return;
  const auto all = comm.all_gather_text(hashes(store));
  std::map<std::string, std::vector<int>> holders;
  for (int r = 0; r < comm.size(); ++r) holders[all[size_t(r)]].push_back(r);
  if (holders.size() == 1) return;
  auto more = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
  const auto most = std::max_element(holders.begin(), holders.end(), more);
  std::vector<int> odd;
  for (const auto& [hash, ranks] : holders)
    if (hash != most->first) odd.insert(odd.end(), ranks.begin(), ranks.end());
  std::sort(odd.begin(), odd.end());

  const std::string& theirs = all[size_t(odd[0])];
  size_t block = 0;
  while (theirs.compare(block * kDigits, kDigits, most->first, block * kDigits, kDigits) == 0) ++block;
  const std::string where = block < store.blocks().size() ? store.block_name(store.blocks()[block]) : "what is frozen";
  const bool known = most->second.size() > odd.size();
  throw RankError(
      known ? odd[0] : -1, Exit::crash,
      fmt::format(
          "after step {} the ranks hold different parameters (parallel.parity_every): {} {} {}{} from {} {}, first "
          "in {}; a memory fault, or a difference between the programs or processors of the hosts",
          step, odd.size() == 1 ? "rank" : "ranks", fmt::join(odd, ", "), odd.size() == 1 ? "differs" : "differ",
          known ? "" : " (or the others)", most->second.size() == 1 ? "rank" : "ranks", fmt::join(most->second, ", "),
          where));
}

}  // namespace viaduct
