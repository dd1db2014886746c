// One thread that runs communication in the order in which it was submitted, while the caller computes (MPI makes no
// progress between calls, so somebody has to keep calling it).
#pragma once
#include <functional>
#include <memory>

#include "comm/communicator.hpp"

namespace viaduct {

class CommThread {
 public:
  using Job = std::function<void(Communicator&, Stream&)>;
  // `comm`: a communicator that no other thread uses.
  explicit CommThread(std::unique_ptr<Communicator> comm);
  CommThread(const CommThread&) = delete;
  // With jobs under way and an exception on its way the thread is left behind: its peers may never join the collective.
  ~CommThread();

  using Ticket = uint64_t;  // jobs are counted from 1

  Ticket submit(Job);
  // Returns when every job, or every one up to that of the ticket, is done; rethrows what the first failing job threw
  // (later ones are not run).
  void wait();
  void wait(Ticket);
  // Rethrows without waiting.
  void check();

 private:
  struct State;
  static void run(std::shared_ptr<State>);
  std::shared_ptr<State> state_;
};

}  // namespace viaduct
