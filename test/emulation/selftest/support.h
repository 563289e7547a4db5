// What the self-tests are written with.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#include <string>
#include <vector>

namespace selftest {

// Counts, and prints what fails.
void expect(bool holds, const std::string& what);
int failures();

cudaStream_t stream();
// Device memory for the test that runs.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count) : count_(count) {
    expect(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)) == cudaSuccess, "memory");
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, stream());
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream());
    return values;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

// Each is in a source of its own.
void test_toys();       // right kernels: results under all schedules, and no findings
void test_mutations();  // each synchronisation of theirs switched off is missed
void test_wrong();      // wrong kernels: what is found, and where
void test_numbers();    // conversions, tensor cores, fast functions, bank conflicts
void test_exact();     // exact sums where the compiler contracts
void test_runtime(const char* program);  // streams, events, memory, errors; starts the program again
void test_card(const std::string& card);
void measure();

}  // namespace selftest
