# What the attempts in hostile.rs share. The facts (WORKSPACE, OUTSIDE, NUMBER, ...) stand before this text.
import ctypes, fcntl, glob, mmap, os, pty, signal, socket, struct, sys, threading, time

TMP = os.environ['TMPDIR']
libc = ctypes.CDLL(None, use_errno=True)
out = []

def verdict(escaped):
    print('ESCAPED' if escaped else 'held')

def call(name, *arguments):
    number = NUMBER[name] if isinstance(name, str) else name
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    return -ctypes.get_errno() if result == -1 else result

def readable(path):
    with open(path, 'rb') as file:
        return file.read() == b'SECRET'

def opens(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
        return True
    except OSError:
        return False

def secret_in(path):
    try:
        return b'SECRET=' in open(path, 'rb').read()
    except OSError:
        return False

def is_open(fd):
    try:
        return os.readlink(f'/proc/self/fd/{fd}').endswith('signing.key')
    except OSError:
        return False

def connects(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(address)
        return True

class iov_struct(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]

def iov(buffer):
    return ctypes.byref(iov_struct(ctypes.addressof(buffer), 8))

def forked(make):
    """Whether `make` makes a child, which ends at once."""
    pid = make()
    if pid == 0:
        os._exit(0)
    return pid > 0

def open_by_handle(path):
    handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
    mount = ctypes.c_int()
    if call('name_to_handle_at', -100, path.encode(), handle, ctypes.byref(mount), 0) < 0:
        return False
    fd = os.open(os.path.dirname(path), os.O_RDONLY)
    return call('open_by_handle_at', fd, handle, 0) >= 0

def capset_all():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    return call('capset', header, (ctypes.c_uint32 * 6)(*[0xffffffff] * 6))

def disks():
    import stat
    found = []
    for name in os.listdir('/dev'):
        try:
            if stat.S_ISBLK(os.stat('/dev/' + name).st_mode):
                found.append('/dev/' + name)
        except OSError:
            pass
    return found

def typed():
    pid, fd = pty.fork()
    if pid == 0:
        try:
            for letter in b'typed\n':
                fcntl.ioctl(0, 0x5412, bytes([letter]))
            os._exit(0 if os.read(0, 16) == b'typed\n' else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0

def thirty_two_bit_unshare():
    """`unshare(CLONE_NEWUSER)` by int 0x80, which enters the table of 32-bit calls. Not in this process: it may be killed."""
    if os.uname().machine != 'x86_64':
        return False
    code = bytes([0x53, 0xb8]) + struct.pack('<I', 310) + bytes([0xbb]) + struct.pack('<I', 0x10000000) + b'\xcd\x80\x5b\xc3'
    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0
