// What has to hold in a stress program or a fuzzer; where it does not, the program ends at once.
#ifndef GLUON_RESNET_TESTS_REQUIRE_H_
#define GLUON_RESNET_TESTS_REQUIRE_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace gluon_resnet {

// abort() rather than an exception: a debugger and libFuzzer then have the stack of the place.
inline void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "VIOLATED: %s\n", what.c_str());
  std::abort();
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_TESTS_REQUIRE_H_
