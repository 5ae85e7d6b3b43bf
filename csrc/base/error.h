// Exceptions that explain themselves: the file, the offset, what was expected and what was found.
//
// All code in csrc/ throws these or std::bad_alloc, and never exits or prints.
#ifndef GLUON_RESNET_ERROR_H_
#define GLUON_RESNET_ERROR_H_

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace gluon_resnet {

enum class ErrorKind { kUsage, kRecord, kImage, kModel, kSystem };

// `text` with each NUL replaced by "\u0000", because what() would end at it: a name from a file
// may contain one.
std::string without_nul(const std::string& text);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string path = "", int64_t offset = -1)
      : std::runtime_error(without_nul(message)),
        kind(kind),
        path(std::move(path)),
        offset(offset) {}

  // what() without the leading "PATH: ", for messages that already name the path.
  std::string reason() const;

  ErrorKind kind;
  std::string path;     // empty for bytes in memory
  int64_t offset;       // in bytes; -1 where it has no meaning
  int64_t key = -1;     // of the record; -1 if unknown
  int system_code = 0;  // errno, for kSystem
};

// The exception being handled, as plain values for a binding. Call it inside a catch block.
struct ErrorReport {
  ErrorKind kind;
  std::string message;
  std::string path;
  int64_t offset;
  int64_t key;
  int system_code;
};
ErrorReport current_error();

// Joins its arguments: concat("expected ", 3, " bytes").
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

// "PATH: WHAT: No such file or directory", from errno.
[[noreturn]] void throw_system_error(const std::string& path, const std::string& what);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ERROR_H_
