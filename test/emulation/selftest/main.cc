// Tests of the emulation itself. With the argument `measure` it tells what things cost instead.
#include <stdio.h>
#include <string.h>

#include "../control.h"
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
  if (count > 2 && strcmp(arguments[1], "card") == 0) {
    test_card(arguments[2]);
    return failures() ? 1 : 0;
  }
  const auto test = [](const char* name, const auto& run) {
    printf("%s\n", name);
    fflush(stdout);
    run();
  };
  test("right kernels", test_toys);
  if (emulation::sees_accesses()) {
    test("mutations", test_mutations);
    test("wrong kernels", test_wrong);
  }
  test("numbers", test_numbers);
  test("exact sums", test_exact);
  test("runtime", [&] { test_runtime(arguments[0]); });
  printf(failures() ? "%d failed\n" : "all passed\n", failures());
  return failures() ? 1 : 0;
}
