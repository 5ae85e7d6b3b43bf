#include "records/record_bytes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace gluon_resnet {

RecordBytes::RecordBytes(const std::string& path)
    : path_(path), file_(path, ErrorKind::kRecord, "a record file (.rec)") {
  if (size() == 0) fail(0, "the file is empty; expected RecordIO data");
}

void RecordBytes::fail(uint64_t offset, const std::string& message) const {
  throw Error(ErrorKind::kRecord, concat(path_, ": at offset ", offset, ": ", message), path_,
              static_cast<int64_t>(offset));
}

void RecordBytes::read(uint64_t offset, uint8_t* out, size_t size) const {
  const uint64_t start = offset;
  const size_t wanted = size;
  while (size > 0) {
    const ssize_t got = ::pread(file_.descriptor(), out, size, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_system_error(path_, concat("cannot read at offset ", offset));
    }
    if (got == 0) {
      fail(start, concat("expected ", wanted, " bytes, found ", wanted - size,
                         " before the end of the file; it has been cut short"));
    }
    out += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
}

void RecordBytes::will_need(uint64_t offset, uint64_t size) const {
  // This is only advice, which the system may refuse.
  static_cast<void>(::posix_fadvise(file_.descriptor(), static_cast<off_t>(offset),
                                    static_cast<off_t>(size), POSIX_FADV_WILLNEED));
}

}  // namespace gluon_resnet
