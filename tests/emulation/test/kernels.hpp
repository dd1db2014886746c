// For the tests of the emulated device: arrays on it, launches, and the environment that schedules are chosen by.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace viaduct::test {

inline void require(cudaError_t e) { ASSERT_EQ(e, cudaSuccess) << cudaGetErrorString(e); }

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) { require(cudaMalloc(&data_, size * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { set(values); }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }
  T* data() const { return data_; }
  size_t size() const { return size_; }
  void set(const std::vector<T>& v) { require(cudaMemcpy(data_, v.data(), size_ * sizeof(T), cudaMemcpyHostToDevice)); }
  std::vector<T> get() const {
    std::vector<T> v(size_);
    require(cudaMemcpy(v.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

struct Shape {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), const Shape& s, A... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = s.grid, config.blockDim = s.block, config.dynamicSmemBytes = s.shared, config.stream = s.stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
}

// A variable of the environment for as long as this lives.
class Setting {
 public:
  Setting(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    setenv(name, value.c_str(), 1);
  }
  Setting(const Setting&) = delete;
  ~Setting() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

inline std::vector<std::string> schedules() {
  std::vector<std::string> all{"forward", "reverse"};
  for (int seed = 1; seed <= 8; ++seed) all.push_back(std::to_string(seed));
  return all;
}

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
// For ThreadSanitizer: a kernel with a data race is reported, whatever its result.
template <class F>
void expect_race(F f) {
  EXPECT_EXIT((f(), std::exit(0)), testing::ExitedWithCode(66), "data race");
}

struct OwnStream {
  cudaStream_t stream = nullptr;
  OwnStream() { require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  OwnStream(const OwnStream&) = delete;
  ~OwnStream() { cudaStreamDestroy(stream); }
  operator cudaStream_t() const { return stream; }
};
struct OwnEvent {
  cudaEvent_t event = nullptr;
  explicit OwnEvent(unsigned flags = cudaEventDefault) { require(cudaEventCreateWithFlags(&event, flags)); }
  OwnEvent(const OwnEvent&) = delete;
  ~OwnEvent() { cudaEventDestroy(event); }
  operator cudaEvent_t() const { return event; }
};

}  // namespace viaduct::test
