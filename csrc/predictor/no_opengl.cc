// The GLX functions that OpenCV's static library refers to, for windows that are never opened here:
// with these, nothing of X11 is linked.

extern "C" {
void (*glXGetProcAddressARB(const unsigned char*))() { return nullptr; }
void* glXGetCurrentContext() { return nullptr; }
void* glXGetCurrentDisplay() { return nullptr; }
}
