"""Device nodes of our own: what is connected, under a name that only the agent's user may open.

A node is made for one connection and removed with it, so that no owner or mode of another node is
ever changed, and a kill leaves nothing behind that the next start does not see in this folder.
"""

import os
import stat


class Nodes:
    def __init__(self, folder, user_id):
        self.folder = folder
        self.user_id = user_id
        os.makedirs(folder, mode=0o755, exist_ok=True)
        os.chmod(folder, 0o755)  # Whatever the umask says: the agent must get in.

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, device, access):
        """A node of `device`, a block device; takes the place of an earlier one."""
        path = self.path(name)
        number = os.stat(device).st_rdev
        self.remove(name)
        # The mode first, while it is root's: of another's node only its owner may change that.
        os.mknod(path, stat.S_IFBLK | (0o600 if access == 'write' else 0o400), number)
        os.chown(path, self.user_id, -1)
        return path

    def remove(self, name):
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            pass

    def keep_only(self, names):
        for name in os.listdir(self.folder):
            if name not in names:
                self.remove(name)
