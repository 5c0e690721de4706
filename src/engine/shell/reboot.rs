//! Whether a machine has to be restarted to run what is installed on it, and restarting it.

/// A line `B` with the reason, if there is one. The file is Debian's and Ubuntu's own word for it. A container has the
/// kernel of its machine.
pub const REBOOT_DUE: &str = r#"due=
if [ -e /run/reboot-required ]; then
  due="/run/reboot-required is there"
  packages=$(sort -u /run/reboot-required.pkgs 2>/dev/null | tr '\n' ' ')
  [ -z "$packages" ] || due="$due: ${packages% }"
elif ! systemd-detect-virt -cq; then
  running=$(uname -r)
  newest=$(ls /boot | sed -n "s/^vmlinuz-\(.*-${running##*-}\)\$/\1/p" | sort -V | tail -n 1)
  [ -z "$newest" ] || [ "$newest" = "$running" ] || due="it runs Linux $running, and $newest is installed"
fi
[ -z "$due" ] || printf 'B\t%s\n' "$due"
"#;

/// What tells one start of a machine from the next.
pub const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id\n";

/// A moment later, so that the answer still comes through.
pub const REBOOT: &str = "systemd-run --quiet --collect --on-active=1s systemctl reboot";
