# frozen_string_literal: true

require 'digest'
require 'fileutils'

# Which machines there are, and the inventory of those that are up. Knows nothing of vagrant.
module Topology
  Host = Struct.new(:name, :roles)

  DATABASES = { 'single' => 1, 'colocated' => 3, 'minimal' => 3, 'split' => 2 }.freeze

  # The hosts of a topology, as in the examples of inventory/, with so many database hosts.
  def self.hosts(name, databases)
    least = DATABASES.fetch(name) { raise ArgumentError, "no topology #{name}: there are #{DATABASES.keys.join(', ')}" }
    databases ||= least
    most = name == 'single' ? 1 : 9
    unless databases.between?(least, most)
      raise ArgumentError, "#{databases} database hosts: #{name} takes #{least} to #{most}"
    end

    case name
    when 'split'
      group('etcd', 3, %w[etcd]) + group('db', databases, %w[postgres]) + group('lb', 2, %w[haproxy])
    when 'minimal'
      database_hosts(databases, %w[postgres]) + group('lb', 1, %w[haproxy])
    else
      database_hosts(databases, %w[postgres haproxy])
    end
  end

  # etcd is on one, three or five of them: an even number survives no more failures than one less.
  def self.database_hosts(count, roles)
    members = [1, 3, 5].select { |odd| odd <= count }.last
    group('db', count, roles).each_with_index { |host, index| host.roles = ['etcd'] + host.roles if index < members }
  end

  def self.group(word, count, roles)
    (1..count).map { |number| Host.new("#{word}#{number}", roles) }
  end

  # What stands before the hosts.
  def self.head(user:, hosts:, emulated:)
    text = <<~TOML
      # Written by vagrant for the machines it made, and removed with them.

      [cluster]
      name = "xnat"

      [ssh]
      user = #{user.dump}
      #{'connect_timeout = "60s"' if emulated}

      # Throwaway machines: their passwords are beside this file as plain text.
      [vault]
      encryption = "none"
    TOML
    shared = hosts.any? { |host| (%w[postgres haproxy] - host.roles).empty? }
    text += "\n# PostgreSQL has 5432 on these hosts.\n[haproxy]\nprimary_port = 5000\nreplica_port = 5001\n" if shared
    text += SLOW if emulated
    text.gsub(/\n{3,}/, "\n\n")
  end

  # An emulated processor is some ten times slower, and three machines share one real one: what answers late is not dead.
  SLOW = <<~TOML

    # Emulated processors answer late.
    [patroni]
    ttl = 90
    loop_wait = 10
    retry_timeout = 40
    primary_start_timeout = 120
    liveness_failures = 60

    [etcd]
    heartbeat_interval = "500ms"
    election_timeout = "5s"

    [haproxy.check]
    inter = "10s"
    timeout = "10s"
  TOML

  # The entry of a host. Its keys are as its own file system has them, read over the connection that vagrant made.
  def self.entry(host, address:, identity:, public_keys:)
    fingerprints = public_keys.lines.map { |line| fingerprint(line) }
    <<~TOML

      [[host]]
      name = #{host.name.dump}
      address = #{address.dump}
      roles = #{list(host.roles)}
      fingerprint = #{list(fingerprints)}
      ssh = { identity = #{identity.dump} }
    TOML
  end

  # As `ssh-keygen -l` prints it.
  def self.fingerprint(public_key)
    digest = Digest::SHA256.digest(public_key.split.fetch(1).unpack1('m'))
    "SHA256:#{[digest].pack('m0').delete('=')}"
  end

  def self.list(words)
    "[#{words.map(&:dump).join(', ')}]"
  end

  # The directory with the inventory and all that the program puts beside it. Machines come and go at the same time, so
  # each has its entry in a file of its own.
  class Site
    LOCK = Mutex.new

    def initialize(directory)
      @directory = directory
    end

    def inventory
      File.join(@directory, 'inventory.toml')
    end

    def add(host, entry, all:, head:)
      LOCK.synchronize do
        FileUtils.mkdir_p(entries, mode: 0o700)
        File.write(file(host), entry)
        there = all.map { |each| file(each) }.select { |path| File.exist?(path) }
        File.write(inventory, head + there.map { |path| File.read(path) }.join)
      end
    end

    # Without machines an inventory, and the passwords beside it, are of no use.
    def remove(host)
      LOCK.synchronize do
        FileUtils.rm_f(file(host))
        FileUtils.rm_rf(@directory) if Dir.glob(File.join(entries, '*')).empty?
      end
    end

    private

    def entries
      File.join(@directory, 'hosts')
    end

    def file(host)
      File.join(entries, "#{host.name}.toml")
    end
  end
end
