#include <gtest/gtest.h>

#include "comm/self_comm.hpp"
#include "comm/thread_comm.hpp"
#include "tests/comm/collectives.hpp"
#include "tests/comm/run_program.hpp"

namespace viaduct {
namespace {

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

TEST(Collectives, Self) {
  SelfComm comm;
  test::check_collectives(comm);
  test::check_strategies(comm);
}

TEST(Collectives, Threads) {
  for (int ranks : {1, 2, 3, 5})
    run_ranks(ranks, [](Communicator& comm) {
      test::check_collectives(comm);
      test::check_strategies(comm);
    });
}

TEST(Collectives, Mpi) {
  for (int ranks : {2, 3, 4}) {
    test::Ended ended = test::run_scenario("collectives", ranks);
    EXPECT_EQ(ended.code, 0) << ended.output;
  }
}

TEST(Collectives, StrategiesOfOneAndOfEightProcesses) {
  for (int ranks : {1, 8}) {
    test::Ended ended = test::run_scenario("strategies", ranks);
    EXPECT_EQ(ended.code, 0) << ended.output;
  }
}

TEST(ThreadComm, AFailingRankWakesTheOthers) {
  std::string message = message_of([] {
    run_ranks(3, [](Communicator& comm) {
      if (comm.rank() == 2) fail_input("rank 2 lost its picture");
      comm.barrier();
    });
  });
  EXPECT_EQ(message, "rank 2 lost its picture");
}

TEST(ThreadComm, DifferentCallsAreRefused) {
  std::string message = message_of([] {
    run_ranks(2, [](Communicator& comm) {
      Stream stream(Device::cpu());
      std::vector<float> numbers(8);
      comm.all_reduce({numbers.data(), {comm.rank() ? 8 : 7}, DType::f32, Device::cpu()}, Reduce::sum, stream);
    });
  });
  EXPECT_NE(message.find("every rank makes the same calls"), std::string::npos) << message;
}

}  // namespace
}  // namespace viaduct
