#include "comm/rank_places.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace viaduct {
namespace {

constexpr size_t kNames = 4, kShares = 8;  // of hosts and of a host's ranks that a line shows

// "a / b / c", of too many the first ones and the last.
std::string listed(std::vector<std::string> names, size_t most, const char* between) {
  if (names.size() > most) names = {names[0], names[1], names[2], "...", names.back()};
  return fmt::format("{}", fmt::join(names, between));
}

// "1 thread each, cores 0 / 1"
std::string describe(const HostPlaces& host) {
  std::vector<std::string> shares;
  std::set<int> threads;
  for (const RankPlace* rank : host.ranks) shares.push_back(rank->cpus), threads.insert(rank->threads);
  const int few = *threads.begin(), many = *threads.rbegin();
  const bool shared = shares.size() > 1 && std::set(shares.begin(), shares.end()).size() == 1;
  return fmt::format("{} thread{}{}, cores {}",
                     few == many ? fmt::format("{}", few) : fmt::format("{} to {}", few, many), many == 1 ? "" : "s",
                     host.count() == 1 ? "" : " each", shared ? shares[0] + " shared" : listed(shares, kShares, " / "));
}

}  // namespace

std::vector<HostPlaces> by_host(const std::vector<RankPlace>& places) {
  std::vector<HostPlaces> hosts;
  for (const RankPlace& place : places) {
    auto host = std::find_if(hosts.begin(), hosts.end(), [&](const auto& h) { return h.host == place.host; });
    if (host == hosts.end()) host = hosts.insert(host, {place.host, {}});
    host->ranks.push_back(&place);
  }
  return hosts;
}

std::string ranks_on(int ranks, const std::string& host) {
  return fmt::format("{} rank{} on {}", ranks, ranks == 1 ? "" : "s", host);
}

std::string describe(const std::vector<RankPlace>& places) {
  struct Alike {
    int ranks;
    std::string text;
    std::vector<std::string> hosts;
  };
  std::vector<Alike> groups;
  const std::vector<HostPlaces> hosts = by_host(places);
  for (const HostPlaces& host : hosts) {
    const std::string text = describe(host);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Alike& g) { return g.ranks == host.count() && g.text == text; });
    if (group == groups.end()) group = groups.insert(group, {host.count(), text, {}});
    group->hosts.push_back(host.host);
  }
  std::string line = hosts.size() == 1 ? "" : ranks_on(int(places.size()), fmt::format("{} hosts: ", hosts.size()));
  for (const Alike& group : groups)
    line += fmt::format("{}{}: {}", &group == &groups[0] ? "" : "; ",
                        ranks_on(group.ranks, listed(group.hosts, kNames, ", ")), group.text);
  return line;
}

}  // namespace viaduct
