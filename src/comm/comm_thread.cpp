#include "comm/comm_thread.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace viaduct {

struct CommThread::State {  // shared with the thread, which may outlive the object
  std::unique_ptr<Communicator> comm;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> jobs;  // the front one is running
  Ticket submitted = 0, done = 0;
  std::exception_ptr error;
  bool stop = false;
};

CommThread::CommThread(std::unique_ptr<Communicator> comm) : state_(std::make_shared<State>()) {
  state_->comm = std::move(comm);
  state_->thread = std::thread(run, state_);
}

CommThread::~CommThread() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  const bool abandon = !state_->jobs.empty() && std::uncaught_exceptions();
  lock.unlock();
  abandon ? state_->thread.detach() : state_->thread.join();
}

CommThread::Ticket CommThread::submit(Job job) {
  std::lock_guard lock(state_->mutex);
  state_->jobs.push_back(std::move(job));
  state_->changed.notify_all();
  return ++state_->submitted;
}

void CommThread::wait() {
  wait([&] {
    std::lock_guard lock(state_->mutex);
    return state_->submitted;
  }());
}

void CommThread::wait(Ticket ticket) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->done >= ticket; });
  if (state_->error) std::rethrow_exception(state_->error);
}

void CommThread::check() {
  std::lock_guard lock(state_->mutex);
  if (state_->error) std::rethrow_exception(state_->error);
}

void CommThread::run(std::shared_ptr<State> state) {
  Stream stream(Device::cpu());
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->stop || !state->jobs.empty(); });
    if (state->jobs.empty()) return;
    Job job = state->error ? Job{} : state->jobs.front();
    lock.unlock();
    std::exception_ptr error;
    try {
      if (job) job(*state->comm, stream);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) state->error = error;
    state->jobs.pop_front();
    ++state->done;
    state->changed.notify_all();
  }
}

}  // namespace viaduct
