// Tests of the emulation itself. With the argument `measure` it tells what things cost instead.
#include <stdio.h>
#include <string.h>

#include "support.h"

namespace selftest {

namespace {
int failed = 0;
}

void expect(bool holds, const std::string& what) {
  if (holds) return;
  failed++;
  printf("  fails: %s\n", what.c_str());
}
int failures() { return failed; }

cudaStream_t stream() {
  static const cudaStream_t stream = [] {
    cudaStream_t created = nullptr;
    cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking);
    return created;
  }();
  return stream;
}

}  // namespace selftest

int main(int count, char** arguments) {
  using namespace selftest;
  if (count > 1 && strcmp(arguments[1], "measure") == 0) {
    measure();
    return 0;
  }
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {{"toys", test_toys}, {"mutations", test_mutations}, {"wrong kernels", test_wrong}};
  for (const auto& test : tests) {
    printf("%s\n", test.name);
    test.run();
  }
  printf(failures() ? "%d failed\n" : "all passed\n", failures());
  return failures() ? 1 : 0;
}
