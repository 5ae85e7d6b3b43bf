#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>

namespace gluon_resnet {

std::string without_nul(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '\0') {
      result += "\\u0000";
    } else {
      result += letter;
    }
  }
  return result;
}

std::string Error::reason() const {
  const std::string message = what(), start = without_nul(path) + ": ";
  return message.compare(0, start.size(), start) == 0 ? message.substr(start.size()) : message;
}

ErrorReport current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.kind, error.what(), error.path, error.offset, error.key, error.system_code};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::kSystem, "out of memory", "", -1, -1, ENOMEM};
  } catch (const std::system_error& error) {  // from std::thread, which alone throws it here
    return {
        ErrorKind::kSystem,  concat("cannot start a thread: ", error.code().message()), "", -1, -1,
        error.code().value()};
  } catch (const std::exception& error) {
    return {ErrorKind::kSystem, error.what(), "", -1, -1, 0};
  } catch (...) {
    return {ErrorKind::kSystem, "unknown C++ exception", "", -1, -1, 0};
  }
}

void throw_system_error(const std::string& path, const std::string& what) {
  const int code = errno;
  Error error(ErrorKind::kSystem, concat(path, ": ", what, ": ", std::strerror(code)), path);
  error.system_code = code;
  throw error;
}

}  // namespace gluon_resnet
