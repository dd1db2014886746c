#include "comm/signals.hpp"

#include <csignal>

#include <atomic>
#include <initializer_list>

namespace viaduct {
namespace {
std::atomic<int> first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a handler may only touch lock-free atomics");

void on_signal(int signal) {
  int none = 0;
  bool first = first_signal.compare_exchange_strong(none, signal);
  if (!first && (signal == SIGINT || signal == SIGTERM)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}
}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reads and waits go on: a stop is taken at the step boundary only
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) ::sigaction(signal, &action, nullptr);
}

bool stop_requested() { return first_signal.load(std::memory_order_relaxed) != 0; }
void request_stop() { on_signal(SIGUSR1); }
void clear_stop_request() { first_signal = 0; }

}  // namespace viaduct
