// Streams, events, stream capture and graphs. (CUDA C++ Programming Guide, "Stream capture", for what capture forbids.)
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "device.hpp"

namespace emulation {
namespace {

using Clock = std::chrono::steady_clock;

struct Capture {
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalid = false;
  std::vector<Work> nodes;
  std::set<cudaStream_t> forked, unjoined;  // that have joined the capture; that hold work the origin does not wait for
};

// A point in a stream's work, where an event was recorded.
struct Mark {
  cudaStream_t stream;
  std::shared_ptr<Capture> capture;
  size_t node = 0;  // of the capture: what the stream had recorded by then
  bool reached = false;
  Clock::time_point time{};
};

}  // namespace
}  // namespace emulation

using namespace emulation;

struct CUstream_st {
  unsigned flags = 0;
  std::deque<Work> queue;
  std::shared_ptr<Capture> capture;
  size_t nodes = 0;  // recorded by this stream in its capture
};
struct CUevent_st {
  unsigned flags = 0;
  std::shared_ptr<Mark> mark;
};
struct CUgraph_st {
  std::shared_ptr<const std::vector<Work>> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> nodes;
};

namespace emulation {
namespace {

struct Streams {
  std::recursive_mutex mutex;  // guards all below; late work runs under it too
  std::set<cudaStream_t> all;
  std::set<std::shared_ptr<Capture>> captures;
};
Streams& streams() {
  static auto* s = new Streams;
  return *s;
}
using Lock = std::lock_guard<std::recursive_mutex>;

bool late() {
  const char* e = std::getenv("EMULATION_STREAMS");
  if (e && std::strcmp(e, "late") && std::strcmp(e, "early"))
    die(std::string("EMULATION_STREAMS must be early or late, found \"") + e + "\"");
  return e && !std::strcmp(e, "late");
}

void run_next(cudaStream_t s) {
  Work work = std::move(s->queue.front());
  s->queue.pop_front();
  work();
}
void drain(cudaStream_t s) {
  while (!s->queue.empty()) run_next(s);
}
void reach(const Mark& m) {
  while (!m.reached) run_next(m.stream);
}

bool is_stream(cudaStream_t s) { return !s || streams().all.count(s); }

// Work of the legacy default stream waits for, and is waited for by, all blocking streams.
cudaError_t run_in_default_stream(const Work& work) {
  Lock lock(streams().mutex);
  for (auto& c : streams().captures)
    if (!(c->origin->flags & cudaStreamNonBlocking)) return c->invalid = true, cudaErrorStreamCaptureImplicit;
  for (cudaStream_t s : streams().all)
    if (!(s->flags & cudaStreamNonBlocking)) drain(s);
  work();
  return cudaSuccess;
}

cudaError_t record(cudaStream_t s, Work work) {
  Capture& c = *s->capture;
  if (c.invalid) return cudaErrorStreamCaptureInvalidated;
  c.nodes.push_back(std::move(work));
  ++s->nodes;
  if (s != c.origin) c.unjoined.insert(s);
  return cudaSuccess;
}

cudaError_t wait_in_capture(cudaStream_t s, const Mark& m) {
  if (s->capture && s->capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!m.capture) return s->capture->invalid = true, cudaErrorStreamCaptureIsolation;
  if (!streams().captures.count(m.capture)) return cudaErrorCapturedEvent;  // of a capture that has ended
  if (!s->capture) {
    s->capture = m.capture, s->nodes = 0;
    m.capture->forked.insert(s);
    return cudaSuccess;
  }
  if (s->capture != m.capture) {
    s->capture->invalid = m.capture->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  if (s != m.stream && m.stream->nodes == m.node && m.capture->unjoined.erase(m.stream) && s != m.capture->origin)
    m.capture->unjoined.insert(s);
  return cudaSuccess;
}

cudaError_t end_capture(cudaStream_t s, cudaGraph_t* graph) {
  std::shared_ptr<Capture> c = s->capture;
  if (!c) return cudaErrorInvalidValue;
  if (c->origin != s) return c->invalid = true, cudaErrorStreamCaptureUnmatched;
  if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
    return cudaErrorStreamCaptureWrongThread;
  streams().captures.erase(c);
  s->capture = nullptr;
  for (cudaStream_t f : c->forked) f->capture = nullptr;
  if (c->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!c->unjoined.empty()) return cudaErrorStreamCaptureUnjoined;
  *graph = new CUgraph_st{std::make_shared<const std::vector<Work>>(std::move(c->nodes))};
  return cudaSuccess;
}

// For calls that wait for, or ask about, the work of a stream or an event.
cudaError_t forbidden_to_wait_for(cudaStream_t s) {
  if (s && s->capture) return s->capture->invalid = true, cudaErrorStreamCaptureUnsupported;
  return forbidden_while_capturing();
}

}  // namespace

cudaError_t submit(cudaStream_t s, Work work) {
  if (!s) return run_in_default_stream(work);
  {
    Lock lock(streams().mutex);
    if (!is_stream(s)) return cudaErrorInvalidResourceHandle;
    if (s->capture) return record(s, std::move(work));
    s->queue.push_back(std::move(work));
    if (late()) return cudaSuccess;
    if (s->queue.size() > 1) return drain(s), cudaSuccess;  // left from when streams were late
    work = std::move(s->queue.front());
    s->queue.pop_front();
  }
  work();
  return cudaSuccess;
}

void finish_everything() {
  Lock lock(streams().mutex);
  for (cudaStream_t s : streams().all) drain(s);
}

cudaError_t forbidden_while_capturing() {
  Lock lock(streams().mutex);
  cudaError_t e = cudaSuccess;
  for (auto& c : streams().captures)
    if (c->mode == cudaStreamCaptureModeGlobal ||
        (c->mode == cudaStreamCaptureModeThreadLocal && c->thread == std::this_thread::get_id()))
      c->invalid = true, e = cudaErrorStreamCaptureUnsupported;
  return e;
}

}  // namespace emulation

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  if (!s || flags > cudaStreamNonBlocking) return result(cudaErrorInvalidValue);
  Lock lock(streams().mutex);
  *s = new CUstream_st{flags, {}, {}};
  streams().all.insert(*s);
  return result(cudaSuccess);
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int) {
  return cudaStreamCreateWithFlags(s, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  Lock lock(streams().mutex);
  if (!s || !streams().all.count(s)) return result(cudaErrorInvalidResourceHandle);
  drain(s);
  if (s->capture) s->capture->invalid = true, s->capture->forked.erase(s), s->capture->unjoined.erase(s);
  if (s->capture && s->capture->origin == s) streams().captures.erase(s->capture);
  streams().all.erase(s);
  delete s;
  return result(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  Lock lock(streams().mutex);
  if (!is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  if (auto e = forbidden_to_wait_for(s)) return result(e);
  if (s)
    drain(s);
  else
    finish_everything();
  return result(cudaSuccess);
}

// A stream that is late gets one piece of work done by each question.
cudaError_t cudaStreamQuery(cudaStream_t s) {
  Lock lock(streams().mutex);
  if (!is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  if (auto e = forbidden_to_wait_for(s)) return result(e);
  if (!s || s->queue.empty()) return result(cudaSuccess);
  run_next(s);
  return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize() {
  if (auto e = forbidden_while_capturing()) return result(e);
  finish_everything();
  return result(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned) {
  Lock lock(streams().mutex);
  if (!s || !is_stream(s) || !event) return result(cudaErrorInvalidResourceHandle);
  std::shared_ptr<Mark> mark = event->mark;
  if (!mark) return result(cudaSuccess);
  if (s->capture || mark->capture) return result(wait_in_capture(s, *mark));
  return result(submit(s, [mark] { reach(*mark); }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (!event) return result(cudaErrorInvalidValue);
  *event = new CUevent_st{flags, nullptr};
  return result(cudaSuccess);
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (!event) return result(cudaErrorInvalidResourceHandle);
  delete event;
  return result(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) {
  Lock lock(streams().mutex);
  if (!event || !is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  if (s && s->capture) {  // only says what comes before: nothing is recorded when the graph runs
    if (s->capture->invalid) return result(cudaErrorStreamCaptureInvalidated);
    event->mark = std::make_shared<Mark>(Mark{s, s->capture, s->nodes});
    return result(cudaSuccess);
  }
  auto mark = std::make_shared<Mark>(Mark{s, nullptr});
  event->mark = mark;
  return result(submit(s, [mark] { mark->reached = true, mark->time = Clock::now(); }));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Lock lock(streams().mutex);
  if (!event) return result(cudaErrorInvalidResourceHandle);
  if (event->mark && event->mark->capture) return result(cudaErrorCapturedEvent);
  if (auto e = forbidden_while_capturing()) return result(e);
  if (event->mark) reach(*event->mark);
  return result(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Lock lock(streams().mutex);
  if (!event) return result(cudaErrorInvalidResourceHandle);
  if (event->mark && event->mark->capture) return result(cudaErrorCapturedEvent);
  if (auto e = forbidden_while_capturing()) return result(e);
  if (!event->mark || event->mark->reached) return result(cudaSuccess);
  run_next(event->mark->stream);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  Lock lock(streams().mutex);
  for (cudaEvent_t e : {start, end})
    if (!e || (e->flags & cudaEventDisableTiming) || !e->mark) return result(cudaErrorInvalidResourceHandle);
  for (cudaEvent_t e : {start, end}) {
    if (e->mark->capture) return result(cudaErrorCapturedEvent);
    if (!e->mark->reached) return result(cudaErrorNotReady);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->mark->time - start->mark->time).count();
  return result(cudaSuccess);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  Lock lock(streams().mutex);
  if (!s) return result(cudaErrorStreamCaptureUnsupported);
  if (!is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  if (s->capture) return result(cudaErrorIllegalState);
  s->capture = std::make_shared<Capture>(Capture{s, mode, std::this_thread::get_id(), false, {}, {}, {}});
  s->nodes = 0;
  streams().captures.insert(s->capture);
  return result(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  Lock lock(streams().mutex);
  if (!s || !is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  if (!graph) return result(cudaErrorInvalidValue);
  *graph = nullptr;
  return result(end_capture(s, graph));
}

cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  Lock lock(streams().mutex);
  if (!is_stream(s)) return result(cudaErrorInvalidResourceHandle);
  *status = !s || !s->capture     ? cudaStreamCaptureStatusNone
            : s->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return result(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (!exec || !graph) return result(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->nodes};
  return result(cudaSuccess);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  if (!exec) return result(cudaErrorInvalidValue);
  return result(submit(s, [nodes = exec->nodes] {
    for (const Work& work : *nodes) work();
  }));
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (!graph || !count || nodes) return result(nodes ? cudaErrorNotSupported : cudaErrorInvalidValue);
  *count = graph->nodes->size();
  return result(cudaSuccess);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (!graph) return result(cudaErrorInvalidValue);
  delete graph;
  return result(cudaSuccess);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  if (!exec) return result(cudaErrorInvalidValue);
  delete exec;
  return result(cudaSuccess);
}
