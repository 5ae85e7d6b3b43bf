// What an error has to be like that a reader of foreign bytes throws.
#ifndef GLUON_RESNET_TESTS_REFUSED_H_
#define GLUON_RESNET_TESTS_REFUSED_H_

#include <cstddef>
#include <string>

#include "base/error.h"
#include "require.h"

namespace gluon_resnet {

constexpr size_t kLongestMessage = 4096;  // bytes

// One of its kind, in a sentence that does not grow with what stands in the file; programs make it
// printable when they print it.
inline void require_refusal(const Error& error, ErrorKind kind) {
  const std::string message = error.what();
  require(error.kind == kind, "an error is of the reader's kind: " + message);
  require(error.system_code == 0, "the file was opened: " + message);
  require(message.size() <= kLongestMessage, "a message is short: " + message);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_TESTS_REFUSED_H_
