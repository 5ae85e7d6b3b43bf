#include "base/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace gluon_resnet {
namespace {

const char* describe(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

RegularFile::RegularFile(const std::string& path, ErrorKind kind, const char* expected) {
  if (path.find('\0') != std::string::npos) {  // the system would stop at the NUL
    errno = ENOENT;
    throw_system_error(path, "cannot open");
  }
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor_ < 0) throw_system_error(path, "cannot open");
  try {
    struct stat status;
    if (::fstat(descriptor_, &status) != 0) throw_system_error(path, "cannot stat");
    if (S_ISDIR(status.st_mode) && kind == ErrorKind::kSystem) {  // the system has words for it
      errno = EISDIR;
      throw_system_error(path, "cannot read");
    }
    if (!S_ISREG(status.st_mode)) {
      throw Error(kind, concat(path, ": expected ", expected, ", found ", describe(status.st_mode)),
                  path);
    }
    size_ = static_cast<uint64_t>(status.st_size);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RegularFile::~RegularFile() { ::close(descriptor_); }

}  // namespace gluon_resnet
