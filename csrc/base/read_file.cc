#include "base/read_file.h"

#include <cstdio>
#include <memory>

#include "base/error.h"

namespace gluon_resnet {

std::string read_file(const std::string& path, size_t most) {
  const auto closer = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(closer)> file(std::fopen(path.c_str(), "rbe"), closer);
  if (!file) throw_system_error(path, "cannot open");
  std::string bytes;
  char block[1 << 16];
  for (size_t got; (got = std::fread(block, 1, sizeof(block), file.get())) > 0;) {
    if (got > most - bytes.size()) {
      throw Error(ErrorKind::kSystem, concat(path, ": expected at most ", most, " bytes"), path);
    }
    bytes.append(block, got);
  }
  if (std::ferror(file.get()) != 0) throw_system_error(path, "cannot read");
  return bytes;
}

}  // namespace gluon_resnet
