// Faults on purpose, and who notices them: the watchdog, the comparison of parameters, the agreement on collectives.
#include <atomic>
#include <future>
#include <thread>

#include "tests/train/runs.hpp"
#include "train/agreement.hpp"
#include "train/parity.hpp"
#include "train/watchdog.hpp"

namespace viaduct::test {
namespace {

class FaultTest : public Runs {
 protected:
  FaultTest()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "24"},
              {"model.num_hidden_layers", "2"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "32"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"fault.rank", "1"},
              {"fault.step", "3"}}) {}
  std::string failure(int ranks, const Settings& settings, Exit code) {
    return message_of([&] { train("run", ranks, settings, code); }, code);
  }
  nlohmann::json verdict() { return nlohmann::json::parse(read_file(runs_ / "run/verdict.json", 1 << 20)); }
};

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

TEST_F(FaultTest, ALossThatIsNotFiniteIsItsRanks) {
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    for (const char* reduction : {"fast", "invariant"}) {
      expect_has(failure(3, {{"fault.kind", "nan"}, {"parallel.strategy", strategy}, {"parallel.reduction", reduction}},
                         Exit::diverged),
                 "training diverged at step 4: the loss of rank 1 is not finite");
      EXPECT_EQ(verdict()["rank"], 1);
      EXPECT_EQ(verdict()["step"], 3);
      std::filesystem::remove(runs_ / "run/verdict.json");
    }
}

TEST_F(FaultTest, AFlippedBitIsItsRanks) {
  const Settings settings{{"fault.kind", "bitflip"}, {"parallel.parity_every", "2"}};
  for (const char* precision : {"fp32", "bf16"}) {
    expect_has(
        failure(3, settings + Settings{{"train.precision", precision}}, Exit::crash),
        "after step 4 the ranks hold different parameters (parallel.parity_every): rank 1 differs from ranks 0, 2, "
        "first in vit.embeddings");
    EXPECT_EQ(verdict()["rank"], 1);
    std::filesystem::remove(runs_ / "run/verdict.json");
  }
  expect_has(failure(2, settings, Exit::crash), "(or the others)");
}

TEST_F(FaultTest, ParityHoldsWhereNothingIsDamaged) {
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    train(strategy, 3, {{"parallel.strategy", strategy}, {"parallel.parity_every", "1"}});
}

TEST_F(FaultTest, OtherCollectivesAreNamedBeforeTheyHang) {
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    expect_has(failure(3, {{"fault.kind", "mismatched_plan"}, {"parallel.strategy", strategy}}, Exit::config),
               "the ranks do not agree on the collectives of a step, first in entry 1: ");
}

TEST(Agreement, NamesTheFirstEntryThatDiffers) {
  auto message = [](std::vector<std::vector<std::string>> entries) {
    return message_of(
        [&] {
          run_ranks(int(entries.size()),
                    [&](Communicator& comm) { agree_on("the plan", entries[size_t(comm.rank())], comm); });
        },
        Exit::config);
  };
  EXPECT_EQ(message({{"a", "b"}, {"a", "b"}}), "no error");
  expect_has(message({{"a", "b"}, {"a", "c"}, {"a", "b"}}), "first in entry 2: ranks 0, 2: b; rank 1: c;");
  expect_has(message({{"a", "b"}, {"a"}}), "first in entry 2: rank 0: b; rank 1: nothing more;");
}

TEST(Agreement, KnowsTheProgramItsLibrariesAndWhatItWasTold) {
  Config config;
  set(config, "train.lr", "0.25", "test");
  set(config, "data.train", "/here", "test");
  const auto entries = described_run(config);
  auto has = [&](const std::string& part) {
    return std::any_of(entries.begin(), entries.end(), [&](auto& e) { return e.find(part) != e.npos; });
  };
  for (const char* part : {"program ", "library libmpi.so.", "library libdnnl.so.", "train.lr = 0.25"})
    EXPECT_TRUE(has(part)) << part;
  EXPECT_FALSE(has("/here")) << "a path may differ between hosts";
}

// Ranks as threads, each with its record; none of them is ever gone. Rank `watched` has a watchdog.
std::string stall(int ranks, double seconds, const std::function<void(Communicator&, HostRanks&)>& body,
                  std::unique_ptr<HostBeats> beats = nullptr, int watched = 0) {
  std::promise<std::string> said;
  run_ranks(ranks, [&](Communicator& comm) {
    HostRanks host(comm);
    expect(host.complete() || ranks == 1, "threads see each other");
    std::optional<Watchdog> watchdog;
    if (comm.rank() == watched)
      watchdog.emplace(
          host, seconds,
          [&](const Verdict& verdict) {
            said.set_value(fmt::format("{} {} {}{}: {}", verdict.rank, verdict.phase, verdict.step,
                                       verdict.host.empty() ? "" : " on " + verdict.host, verdict.message));
          },
          std::move(beats));
    body(comm, host);
  });
  auto future = said.get_future();
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready ? future.get() : "";
}

TEST(Watchdog, NamesTheRankThatHasNotCome) {
  std::atomic<bool> over = false;
  const std::string said = stall(3, 0.05, [&](Communicator& comm, HostRanks& host) {
    PhaseClock& clock = host.mine().clock;
    host.mine().step = 7;
    if (comm.rank() == 1) {
      clock.enter(Phase::backward);
      while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return;
    }
    clock.enter(Phase::comm);
    host.mine().arrivals = 4, host.mine().waiting = 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    over = true;
  });
  EXPECT_EQ(said.find("1 backward 7: stalled: for 0.05 seconds (parallel.timeout_seconds) rank 1 has not come"), 0u)
      << said;
}

TEST(Watchdog, ARankThatWaitsForABatchIsItsOwnStall) {
  const std::string said = stall(1, 0.05, [](Communicator&, HostRanks& host) {
    PhaseClock& clock = host.mine().clock;
    clock.enter(Phase::data);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  EXPECT_EQ(said.find("0 data 0: stalled: for 0.05 seconds (parallel.timeout_seconds) no batch"), 0u) << said;
}

// Another host, of which is heard what the test says.
class InventedHost : public HostBeats {
 public:
  InventedHost(Beat beat, bool speaks) : speaks_(speaks) {
    others_.push_back({.name = "b", .first_rank = 2, .last_rank = 3, .beat = beat});
  }
  void exchange(const Beat&) override {
    if (speaks_) others_[0].heard = std::chrono::steady_clock::now();
  }

 private:
  bool speaks_;
};
std::unique_ptr<HostBeats> host_b(Beat beat, bool speaks = true) {
  return std::make_unique<InventedHost>(beat, speaks);
}

// Waits in its fourth collective, as all ranks of this host.
void wait_for_others(Communicator&, HostRanks& host) {
  host.mine().clock.enter(Phase::comm);
  host.mine().arrivals = 4, host.mine().waiting = 1;
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
}

TEST(Watchdog, NamesAHostOfWhichNothingIsHeard) {
  const std::string said = stall(2, 0.05, wait_for_others, host_b({.rank = 3, .step = 7, .arrivals = 4}, false));
  EXPECT_EQ(said.find("2 start 7 on b: stalled: nothing was heard of host b (ranks 2 to 3) for 0.05 seconds"), 0u)
      << said;
}

TEST(Watchdog, RankZeroNamesARankOfAnotherHost) {
  const Beat behind{.rank = 3, .phase = Phase::forward, .step = 7, .arrivals = 3, .still = 9};
  const std::string said = stall(2, 0.05, wait_for_others, host_b(behind));
  EXPECT_EQ(said.find("3 forward 7 on b: stalled: for 0.05 seconds (parallel.timeout_seconds) rank 3 has not come"), 0u)
      << said;
  EXPECT_EQ(stall(2, 0.05, wait_for_others, host_b(behind), 1), "") << "the others leave it to rank 0";
  Beat moving = behind;
  moving.still = 0;
  EXPECT_EQ(stall(2, 0.05, wait_for_others, host_b(moving)), "");
  Beat same = behind;
  same.arrivals = 4;
  EXPECT_NE(stall(2, 0.05, wait_for_others, host_b(same)).find("no rank is behind it: look at the network"),
            std::string::npos);
}

TEST(Watchdog, ARankOfThisHostForWhichAnotherWaits) {
  const std::string said = stall(
      1, 0.05,
      [](Communicator&, HostRanks& host) {
        host.mine().clock.enter(Phase::backward);
        host.mine().arrivals = 3;
        std::this_thread::sleep_for(std::chrono::milliseconds(400));
      },
      host_b({.rank = 2, .arrivals = 4, .still = 9, .waited = 9, .waits_in = 4}));
  EXPECT_EQ(said.find("0 backward 0: stalled: for 0.05 seconds (parallel.timeout_seconds) rank 0 has not come"), 0u)
      << said;
}

// Rank 1 comes late and always moves; computing alone may take as long as it needs.
TEST(Watchdog, IsSilentWhileARankMoves) {
  EXPECT_EQ(stall(2, 1,
                  [](Communicator& comm, HostRanks& host) {
                    PhaseClock& clock = host.mine().clock;
                    if (comm.rank() == 0) host.mine().arrivals = 1, host.mine().waiting = 1;
                    for (int i = 0; i < 200; ++i) {
                      if (comm.rank() == 1) clock.enter(i % 2 ? Phase::forward : Phase::backward);
                      std::this_thread::sleep_for(std::chrono::milliseconds(10));
                    }
                    host.mine().waiting = 0;
                  }),
            "");
  EXPECT_EQ(stall(1, 0.001,
                  [](Communicator&, HostRanks& host) {
                    PhaseClock& clock = host.mine().clock;
                    clock.enter(Phase::backward);
                    std::this_thread::sleep_for(std::chrono::milliseconds(50));
                  }),
            "");
}

}  // namespace
}  // namespace viaduct::test
