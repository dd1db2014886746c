// Stream capture and graphs: what is recorded, what replay sees, and what capturing forbids.
#include <thread>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

__global__ void add(int* x, int v) { x[threadIdx.x] += v; }
__global__ void add_array(int* x, const int* y) { x[threadIdx.x] += y[threadIdx.x]; }

struct OwnGraph {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  explicit OwnGraph(cudaGraph_t g) : graph(g) { require(cudaGraphInstantiate(&exec, g)); }
  OwnGraph(const OwnGraph&) = delete;
  ~OwnGraph() { cudaGraphExecDestroy(exec), cudaGraphDestroy(graph); }
  size_t nodes() const {
    size_t n = 0;
    require(cudaGraphGetNodes(graph, nullptr, &n));
    return n;
  }
};

class Graph : public testing::Test {
 protected:
  OwnStream stream_, other_;
  DeviceArray<int> x_{std::vector<int>(4, 1)}, y_{std::vector<int>(4, 10)};

  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, mode), cudaSuccess);
  }
  cudaError_t end(cudaGraph_t* graph) { return cudaStreamEndCapture(stream_, graph); }
  cudaGraph_t end() {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(end(&graph), cudaSuccess);
    return graph;
  }
  cudaStreamCaptureStatus status() {
    cudaStreamCaptureStatus s;
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &s), cudaSuccess);
    return s;
  }
  // After a call that capturing forbids, nothing but the end of the capture works, and that hands back no graph.
  void expect_invalidated() {
    EXPECT_EQ(status(), cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(launch(add, {1, 4, 0, stream_}, x_.data(), 1), cudaErrorStreamCaptureInvalidated);
    cudaGraph_t graph = reinterpret_cast<cudaGraph_t>(this);
    EXPECT_EQ(end(&graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(status(), cudaStreamCaptureStatusNone);
    EXPECT_EQ(launch(add, {1, 4, 0, stream_}, x_.data(), 1), cudaSuccess);
    cudaGetLastError();
  }
};

TEST_F(Graph, RecordsWithoutRunningAndRunsWhenLaunched) {
  int v = 3;
  begin();
  EXPECT_EQ(status(), cudaStreamCaptureStatusActive);
  ASSERT_EQ(launch(add, {1, 4, 0, stream_}, x_.data(), v), cudaSuccess);
  v = 1000;  // arguments were copied
  ASSERT_EQ(launch(add_array, {1, 4, 0, stream_}, x_.data(), y_.data()), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(y_.data(), x_.data(), 8, cudaMemcpyDeviceToDevice, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(y_.data() + 3, 0, 4, stream_), cudaSuccess);
  OwnGraph graph(end());
  EXPECT_EQ(graph.nodes(), 4u);
  EXPECT_EQ(x_.get(), std::vector<int>(4, 1));

  ASSERT_EQ(cudaGraphLaunch(graph.exec, stream_), cudaSuccess);
  EXPECT_EQ(x_.get(), (std::vector<int>{14, 14, 14, 14}));
  EXPECT_EQ(y_.get(), (std::vector<int>{14, 14, 10, 0}));
  y_.set({100, 200, 300, 400});  // replay sees what memory holds then
  ASSERT_EQ(cudaGraphLaunch(graph.exec, other_), cudaSuccess);
  EXPECT_EQ(x_.get(), (std::vector<int>{117, 217, 317, 417}));
}

TEST_F(Graph, AnExecutableOutlivesItsGraph) {
  begin();
  ASSERT_EQ(launch(add, {1, 4, 0, stream_}, x_.data(), 3), cudaSuccess);
  cudaGraph_t graph = end();
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  ASSERT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(x_.get()[0], 4);
}

TEST_F(Graph, EventsBringOtherStreamsIntoTheCapture) {
  OwnEvent fork, join;
  begin();
  ASSERT_EQ(cudaEventRecord(fork, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_, fork), cudaSuccess);
  ASSERT_EQ(launch(add, {1, 4, 0, other_}, x_.data(), 5), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(join, other_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(stream_, join), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(join), cudaErrorCapturedEvent);
  OwnGraph graph(end());
  EXPECT_EQ(graph.nodes(), 1u);
  EXPECT_EQ(x_.get()[0], 1);
  ASSERT_EQ(cudaGraphLaunch(graph.exec, stream_), cudaSuccess);
  EXPECT_EQ(x_.get()[0], 6);
  EXPECT_EQ(launch(add, {1, 4, 0, other_}, x_.data(), 1), cudaSuccess);  // the capture is over for the other stream too
  EXPECT_EQ(x_.get()[0], 7);
  cudaGetLastError();
}

TEST_F(Graph, WorkThatIsNotJoinedIsAnError) {
  OwnEvent fork, join;
  begin();
  ASSERT_EQ(cudaEventRecord(fork, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_, fork), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(join, other_), cudaSuccess);
  ASSERT_EQ(launch(add, {1, 4, 0, other_}, x_.data(), 5), cudaSuccess);  // behind the event
  ASSERT_EQ(cudaStreamWaitEvent(stream_, join), cudaSuccess);
  cudaGraph_t graph;
  EXPECT_EQ(end(&graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
  cudaGetLastError();
}

TEST_F(Graph, WaitingForWhatWasNotCapturedIsAnError) {
  OwnEvent before;
  ASSERT_EQ(cudaEventRecord(before, other_), cudaSuccess);
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream_, before), cudaErrorStreamCaptureIsolation);
  expect_invalidated();
}

TEST_F(Graph, CapturesAreNotMerged) {
  OwnEvent event;
  begin();
  ASSERT_EQ(cudaStreamBeginCapture(other_, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event), cudaErrorStreamCaptureMerge);
  cudaGraph_t graph;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureInvalidated);
  expect_invalidated();
}

TEST_F(Graph, CapturingForbidsWhatDoesNotBelongToAStream) {
  void* p;
  int host[4];
  OwnEvent event;
  ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
  std::vector<std::function<cudaError_t()>> calls{
      [&] { return cudaMalloc(&p, 16); },          [&] { return cudaMallocHost(&p, 16); },
      [&] { return cudaFree(x_.data()); },         [&] { return cudaStreamSynchronize(stream_); },
      [&] { return cudaStreamQuery(stream_); },    [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaEventSynchronize(event); }, [&] { return cudaEventQuery(event); },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE("call " + std::to_string(i));
    begin();
    EXPECT_EQ(calls[i](), cudaErrorStreamCaptureUnsupported);
    expect_invalidated();
  }
  begin();
  EXPECT_EQ(cudaMemcpy(host, x_.data(), 16, cudaMemcpyDeviceToHost), cudaErrorStreamCaptureImplicit);
  expect_invalidated();
}

TEST_F(Graph, ModesSayWhomTheyForbid) {
  auto in_another_thread = [] {
    cudaError_t e;
    std::thread([&] {
      void* p = nullptr;
      e = cudaMalloc(&p, 16);
      if (e == cudaSuccess) cudaFree(p);
    }).join();
    return e;
  };
  begin(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(in_another_thread(), cudaErrorStreamCaptureUnsupported);
  expect_invalidated();
  begin(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(in_another_thread(), cudaSuccess);
  cudaGraphDestroy(end());
  begin(cudaStreamCaptureModeRelaxed);
  void* p;
  EXPECT_EQ(cudaMalloc(&p, 16), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  cudaGraphDestroy(end());
}

TEST_F(Graph, ACaptureEndsWhereItBegan) {
  cudaGraph_t graph;
  EXPECT_EQ(end(&graph), cudaErrorInvalidValue);  // none has begun
  begin();
  cudaError_t elsewhere;
  std::thread([&] { elsewhere = cudaStreamEndCapture(stream_, &graph); }).join();
  EXPECT_EQ(elsewhere, cudaErrorStreamCaptureWrongThread);
  cudaGraphDestroy(end());
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
  cudaGetLastError();
}

TEST_F(Graph, AGraphInAGraph) {
  begin();
  ASSERT_EQ(launch(add, {1, 4, 0, stream_}, x_.data(), 3), cudaSuccess);
  OwnGraph inner(end());
  begin();
  ASSERT_EQ(cudaGraphLaunch(inner.exec, stream_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(inner.exec, stream_), cudaSuccess);
  OwnGraph outer(end());
  EXPECT_EQ(x_.get()[0], 1);
  ASSERT_EQ(cudaGraphLaunch(outer.exec, stream_), cudaSuccess);
  EXPECT_EQ(x_.get()[0], 7);
}

}  // namespace
}  // namespace viaduct::test
