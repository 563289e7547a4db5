// Settings from the environment, and what is printed at the end if nobody has asked.
#include <stdio.h>
#include <stdlib.h>

#include "card.h"
#include "findings.h"
#include "record.h"

namespace emulation {

namespace {
class Session {
 public:
  Session() {
    each_setting(getenv("FAST_WEIGHTS_EMULATION"), [&](const std::string& name, const std::string& value) {
      if (name == "seed") set_seed(strtoull(value.c_str(), nullptr, 10));
      if (name == "truncate") set_truncated_sums(true);
      if (name == "banks") count_bank_conflicts(true);
      if (name == "record") recording = true;
    });
  }
  ~Session() {
    for (const Finding& finding : findings_so_far()) {
      fprintf(stderr, "emulation: %s: %s, %lld times\n", finding.kind.c_str(), finding.text.c_str(),
              static_cast<long long>(finding.count));
    }
    for (const BankConflicts& line : take_bank_conflicts()) {
      fprintf(stderr, "emulation: shared memory: %s, %lld accesses, %lld extra passes\n", line.place.c_str(),
              static_cast<long long>(line.accesses), static_cast<long long>(line.extra));
    }
  }
} session;
}  // namespace

}  // namespace emulation
