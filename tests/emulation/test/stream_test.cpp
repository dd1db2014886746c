// Streams and events: work comes in order, and what nobody waited for has not happened when streams are late.
#include "kernels.hpp"

namespace viaduct::test {
namespace {

__global__ void add(int* x, int v) { x[threadIdx.x] += v; }
__global__ void times(int* x, int v) { x[threadIdx.x] *= v; }

struct Pinned {
  int* data = nullptr;
  explicit Pinned(size_t size) { require(cudaMallocHost(&data, size * sizeof(int))); }
  Pinned(const Pinned&) = delete;
  ~Pinned() { cudaFreeHost(data); }
};

class Streams : public testing::TestWithParam<const char*> {
 protected:
  Setting streams_{"EMULATION_STREAMS", GetParam()};
  bool late() const { return GetParam() == std::string("late"); }
};
INSTANTIATE_TEST_SUITE_P(Stream, Streams, testing::Values("early", "late"));

TEST_P(Streams, WorkOfOneComesInItsOrder) {
  DeviceArray<int> x(std::vector<int>(32, 1));
  OwnStream stream;
  Pinned out(32);
  out.data[0] = 0;
  ASSERT_EQ(launch(add, {1, 32, 0, stream}, x.data(), 2), cudaSuccess);
  ASSERT_EQ(launch(times, {1, 32, 0, stream}, x.data(), 10), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(out.data, x.data(), 128, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(out.data[0], late() ? 0 : 30);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(out.data[0], 30);
  EXPECT_EQ(out.data[31], 30);
}

TEST_P(Streams, EventsOrderStreams) {
  DeviceArray<int> x(std::vector<int>(32, 1));
  OwnStream first, second;
  OwnEvent done(cudaEventDisableTiming);
  ASSERT_EQ(launch(add, {1, 32, 0, first}, x.data(), 2), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(done, first), cudaSuccess);
  ASSERT_EQ(launch(add, {1, 32, 0, first}, x.data(), 1000), cudaSuccess);  // behind the event
  ASSERT_EQ(cudaStreamWaitEvent(second, done, 0), cudaSuccess);
  ASSERT_EQ(launch(times, {1, 32, 0, second}, x.data(), 10), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  if (late()) {
    EXPECT_EQ(cudaStreamQuery(first), cudaErrorNotReady);
    EXPECT_EQ(cudaStreamQuery(first), cudaSuccess);
    EXPECT_EQ(x.get()[0], 1030);
  } else {
    EXPECT_EQ(x.get()[0], 10030);  // at once means that nothing of the first stream was left
  }
}

TEST_P(Streams, EventsSayWhetherTheyHaveCome) {
  DeviceArray<int> x(std::vector<int>(32, 1));
  OwnStream stream;
  OwnEvent event;
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // never recorded
  ASSERT_EQ(launch(add, {1, 32, 0, stream}, x.data(), 2), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), late() ? cudaErrorNotReady : cudaSuccess);
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(x.get()[0], 3);
}

TEST_P(Streams, SynchronousCallsFinishEverything) {
  OwnStream stream;
  DeviceArray<int> x(std::vector<int>(32, 1));
  ASSERT_EQ(launch(add, {1, 32, 0, stream}, x.data(), 2), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  EXPECT_EQ(x.get()[0], 3);
}

TEST_P(Streams, DestroyingOneFinishesItsWork) {
  DeviceArray<int> x(std::vector<int>(32, 1));
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(launch(add, {1, 32, 0, stream}, x.data(), 2), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(launch(add, {1, 32, 0, stream}, x.data(), 2), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(x.get()[0], 3);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

TEST_P(Streams, PageableMemoryIsReadAndWrittenByTheCall) {  // pinned memory when the copy comes
  DeviceArray<int> x(1), y(1);
  OwnStream stream;
  Pinned pinned(1);
  int pageable = pinned.data[0] = 5;
  ASSERT_EQ(cudaMemcpyAsync(x.data(), &pageable, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(y.data(), pinned.data, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  pageable = pinned.data[0] = 6;
  int copied = 0;
  ASSERT_EQ(cudaMemcpyAsync(&copied, x.data(), 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(copied, 5);
  pinned.data[0] = 7;
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(x.get()[0], 5);
  EXPECT_EQ(y.get()[0], late() ? 6 : 5);  // the copy that waited made all before it happen
}

TEST(Stream, ElapsedTimeIsTimeThatPasses) {
  OwnStream stream;
  OwnEvent start, end, without_time(cudaEventDisableTiming);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);  // not recorded
  for (cudaEvent_t e : {start.event, end.event, without_time.event}) ASSERT_EQ(cudaEventRecord(e, stream), cudaSuccess);
  ASSERT_EQ(cudaEventSynchronize(end), cudaSuccess);
  ASSERT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GT(milliseconds, 0.0f);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, without_time), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

}  // namespace
}  // namespace viaduct::test
