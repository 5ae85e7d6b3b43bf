#include "base/read_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace gluon_resnet {

std::string read_file(const std::string& path, size_t most) {
  return read_file(RegularFile(path), path, most);
}

std::string read_file(const RegularFile& file, const std::string& path, size_t most) {
  std::string bytes;
  bytes.reserve(std::min<uint64_t>(file.size(), most));
  char block[1 << 16];
  while (true) {  // until the end: files in /proc report a size of 0
    const ssize_t got = ::read(file.descriptor(), block, sizeof(block));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_system_error(path, "cannot read");
    if (got == 0) return bytes;
    if (static_cast<size_t>(got) > most - bytes.size()) {
      throw Error(ErrorKind::kSystem, concat(path, ": expected at most ", most, " bytes"), path);
    }
    bytes.append(block, static_cast<size_t>(got));
  }
}

}  // namespace gluon_resnet
